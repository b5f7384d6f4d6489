//! What a client sees under rules.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use lateen_nft::*;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
use std::os::fd::{AsRawFd, OwnedFd};

pub const TESTS: &[(&str, fn())] = &[
    ("redirect_sends_a_connection_to_the_local_port", redirect_tcp),
    ("redirect_works_for_ipv6", redirect_v6),
    ("redirect_works_for_udp", redirect_udp),
    ("a_marked_socket_is_left_alone", mark_exempts),
    ("an_owner_is_left_alone", owner_exempts),
    ("a_port_set_excludes_its_members", port_set),
    ("a_port_range_includes_its_ends", port_range),
    ("a_network_matches_by_prefix", prefix),
    ("a_spread_reaches_every_target", spread),
    ("a_spread_reaches_every_ipv6_target", spread_v6),
    ("a_map_jumps_by_destination", verdict_map),
    ("a_map_holds_thousands_of_entries", large_map),
    ("apply_replaces_what_was_there", replaces),
    ("a_refused_rule_changes_nothing_and_is_named", refused),
    ("an_owned_table_ends_with_its_owner", owned),
    ("a_client_stays_where_it_was_sent_also_after_an_update", stays),
    ("an_update_takes_away_what_is_no_longer_wanted", update_removes),
    ("an_update_of_rules_that_others_removed_is_refused", update_of_nothing),
    ("a_forgotten_flow_is_translated_anew", forget_flow),
    ("every_expression_is_accepted", everything),
    ("deleting_a_missing_table_is_fine", delete_missing),
];

const TABLE: &str = "lateen-test";

fn nat_output(rules: Vec<Rule>) -> Table {
    let mut chain = Chain::base("output", HookKind::Nat, Hook::Output, priority::DSTNAT);
    chain.rules = rules;
    Table::new(Family::Inet, TABLE).chain(chain)
}

fn with(table: Table, check: impl FnOnce()) {
    apply(&table.into()).expect("apply");
    check();
    delete_table(Family::Inet, TABLE).expect("delete");
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("network")
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("addr").port();
    (listener, port)
}

fn reaches(to: &str) -> bool {
    TcpStream::connect_timeout(&addr(to), Duration::from_secs(2)).is_ok()
}

fn redirect_tcp() {
    let (_listener, port) = listen();
    assert!(!reaches("127.0.0.9:80"));
    with(nat_output(vec![[Expr::dport(L4::Tcp, 80), Expr::Counter, Expr::Redirect(port)].into()]), || {
        assert!(reaches("127.0.0.9:80"));
        assert!(!reaches("127.0.0.9:81"));
    });
    assert!(!reaches("127.0.0.9:80"), "the rule must be gone with its table");
}

fn redirect_v6() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("listen");
    let port = listener.local_addr().expect("addr").port();
    let rule = [Expr::daddr(Op::Eq, net("::1/128")), Expr::dport(L4::Tcp, 80), Expr::Redirect(port)];
    with(nat_output(vec![rule.into()]), || assert!(reaches("[::1]:80")));
}

fn redirect_udp() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
    server.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
    let port = server.local_addr().expect("addr").port();
    with(nat_output(vec![[Expr::dport(L4::Udp, 53), Expr::Redirect(port)].into()]), || {
        let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
        client.send_to(b"question", "127.0.0.9:53").expect("send");
        let mut buffer = [0; 16];
        let (len, _) = server.recv_from(&mut buffer).expect("receive");
        assert_eq!(&buffer[..len], b"question");
    });
}

fn marked_connect(mark: u32, to: [u8; 4], port: u16) -> nix::Result<OwnedFd> {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::Mark, &mark)?;
    connect(fd.as_raw_fd(), &SockaddrIn::new(to[0], to[1], to[2], to[3], port))?;
    Ok(fd)
}

fn mark_exempts() {
    let (_listener, port) = listen();
    let rules =
        vec![[Expr::Mark(Op::Eq, 1337), Expr::ret()].into(), [Expr::dport(L4::Tcp, 80), Expr::Redirect(port)].into()];
    with(nat_output(rules), || {
        assert!(marked_connect(7, [127, 0, 0, 9], 80).is_ok());
        assert!(marked_connect(1337, [127, 0, 0, 9], 80).is_err());
    });
}

fn owner_exempts() {
    let (_listener, port) = listen();
    let redirect = Expr::Redirect(port);
    let root = || vec![Expr::Skuid(Op::Eq, Owner::Name("root".into())), Expr::ret()].into();
    let rules = vec![root(), [Expr::dport(L4::Tcp, 80), redirect.clone()].into()];
    with(nat_output(rules), || assert!(!reaches("127.0.0.9:80")));
    let other = vec![Expr::Skgid(Op::Ne, Owner::Id(0)), Expr::ret()].into();
    let rules = vec![other, [Expr::dport(L4::Tcp, 80), redirect].into()];
    with(nat_output(rules), || assert!(reaches("127.0.0.9:80")));
}

fn port_set() {
    let (_listener, port) = listen();
    let not = Expr::Port(L4::Tcp, Dir::Dst, Op::Ne, Ports::Set(vec![81, 80]));
    with(nat_output(vec![[Expr::Oifname(Op::Eq, "lo".into()), not, Expr::Redirect(port)].into()]), || {
        assert!(!reaches("127.0.0.9:80"));
        assert!(!reaches("127.0.0.9:81"));
        assert!(reaches("127.0.0.9:82"));
    });
}

fn port_range() {
    let (_listener, port) = listen();
    with(nat_output(vec![[Expr::dport(L4::Tcp, Ports::Range(80, 82)), Expr::Redirect(port)].into()]), || {
        let reached: Vec<u16> = (79..84).filter(|p| *p != port && reaches(&format!("127.0.0.9:{p}"))).collect();
        assert_eq!(reached, [80, 81, 82]);
    });
}

fn prefix() {
    let (_listener, port) = listen();
    let rule = [Expr::daddr(Op::Eq, net("127.9.0.0/17")), Expr::dport(L4::Tcp, 80), Expr::Redirect(port)];
    with(nat_output(vec![rule.into()]), || {
        assert!(reaches("127.9.127.1:80"));
        assert!(!reaches("127.9.128.1:80"));
    });
}

fn spread_over(service: &str, listeners: &[TcpListener]) -> BTreeSet<usize> {
    for listener in listeners {
        listener.set_nonblocking(true).expect("nonblocking");
    }
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let _stream = TcpStream::connect(service).expect("connect");
        for (i, listener) in listeners.iter().enumerate() {
            match listener.accept() {
                Ok(_) => drop(seen.insert(i)),
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    seen
}

fn spread() {
    let listeners: Vec<_> = (1..4).map(|i| TcpListener::bind((format!("127.0.3.{i}"), 0)).expect("listen")).collect();
    let targets: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("addr")).collect();
    for how in [Spread::Random, Spread::Inc] {
        let service = Expr::daddr(Op::Eq, net("127.96.0.1/32"));
        let rule = [service, Expr::dport(L4::Tcp, 80), Expr::DnatSpread(how, targets.clone())];
        with(nat_output(vec![rule.into()]), || {
            assert_eq!(spread_over("127.96.0.1:80", &listeners).len(), 3);
        });
    }
}

fn spread_v6() {
    let listeners: Vec<_> = (0..2).map(|_| TcpListener::bind("[::1]:0").expect("listen")).collect();
    let targets: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("addr")).collect();
    let rule = [Expr::dport(L4::Tcp, 80), Expr::DnatSpread(Spread::Inc, targets)];
    with(nat_output(vec![rule.into()]), || assert_eq!(spread_over("[::1]:80", &listeners).len(), 2));
}

/// A spread that remembers its clients for a minute.
fn sticky(targets: &[SocketAddr], more: Option<u16>) -> Ruleset {
    let (mut choice, mut ends, mut sets) = (Chain::new("choice"), Vec::new(), Vec::new());
    let mut names = Vec::new();
    for (i, target) in targets.iter().enumerate() {
        let (set, end) = (format!("clients/{i}"), format!("end/{i}"));
        choice.push([Expr::SourceInSet { set: set.clone(), v6: false }, Expr::goto(&end)]);
        let remember = Expr::RememberSource { set: set.clone(), v6: false };
        ends.push(Chain::new(&end).rule([remember, Expr::L4Proto(L4::Tcp), Expr::Dnat(*target)]));
        sets.push(SourceSet { name: set, v6: false, timeout: Duration::from_secs(60) });
        names.push(end);
    }
    choice.push([Expr::GotoSpread(Spread::Random, names)]);
    let service = Expr::daddr(Op::Eq, net("127.96.0.1/32"));
    let mut rules: Vec<Rule> = vec![[service, Expr::dport(L4::Tcp, 80), Expr::goto("choice")].into()];
    rules.extend(more.map(|port| [Expr::dport(L4::Tcp, port), Expr::Dnat(targets[0])].into()));
    let mut table = nat_output(rules);
    table.chains.push(choice);
    table.chains.extend(ends);
    table.sets = sets;
    table.into()
}

fn stays() {
    let listeners: Vec<_> = (1..6).map(|i| TcpListener::bind((format!("127.0.4.{i}"), 0)).expect("listen")).collect();
    let targets: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("addr")).collect();
    let first = sticky(&targets, None);
    apply(&first).expect("apply");
    let before = spread_over("127.96.0.1:80", &listeners);
    assert_eq!(before.len(), 1, "one client, one target");
    let second = sticky(&targets, Some(8181));
    update(&first, &second).expect("update");
    assert!(reaches("127.0.0.9:8181"), "the new rule holds");
    assert!(
        spread_over("127.96.0.1:80", &listeners).is_subset(&BTreeSet::from([0, before.first().copied().expect("one")]))
    );
    update(&second, &first).expect("update back");
    assert_eq!(spread_over("127.96.0.1:80", &listeners), before);
    apply(&first).expect("apply anew");
    let all = (0..40).fold(BTreeSet::new(), |mut seen, _| {
        apply(&first).expect("apply");
        seen.extend(spread_over("127.96.0.1:80", &listeners));
        seen
    });
    assert!(all.len() > 1, "nobody is remembered where everything is replaced");
    delete_table(Family::Inet, TABLE).expect("delete");
}

fn update_removes() {
    let (_listener, port) = listen();
    let map = |to: &str| VerdictMap {
        name: "services".into(),
        v6: false,
        entries: vec![(key("127.96.0.1", 80), Verdict::Goto(to.into()))],
    };
    let lookup = || vec![[Expr::DestinationMap { map: "services".into(), v6: false }].into()];
    let end = |name: &str, port| Chain::new(name).rule([Expr::L4Proto(L4::Tcp), Expr::Redirect(port)]);
    let one = Ruleset::from(nat_output(lookup()).map(map("a")).chain(end("a", port)).chain(end("gone", 1)));
    let two = Ruleset::from(nat_output(lookup()).map(map("b")).chain(end("b", 1)));
    let none = Ruleset::from(nat_output(vec![]));
    apply(&one).expect("apply");
    assert!(reaches("127.96.0.1:80"));
    update(&one, &two).expect("to another chain");
    assert!(!reaches("127.96.0.1:80"));
    update(&two, &one).expect("and back");
    assert!(reaches("127.96.0.1:80"));
    update(&one, &none).expect("to nothing");
    assert!(!reaches("127.96.0.1:80"));
    update(&none, &Ruleset::default()).expect("without table");
    assert!(update(&one, &none).is_err(), "there is no table any more");
}

fn update_of_nothing() {
    let rules = Ruleset::from(nat_output(vec![]).chain(Chain::new("x")));
    let error = update(&rules, &rules).expect_err("there is no such table").to_string();
    assert!(error.contains("table lateen-test"), "{error}");
}

fn forget_flow() {
    let (old, new) = (UdpSocket::bind("127.0.5.1:0").expect("bind"), UdpSocket::bind("127.0.5.2:0").expect("bind"));
    let to = |socket: &UdpSocket| {
        let target = socket.local_addr().expect("addr");
        let service = Expr::daddr(Op::Eq, net("127.96.0.1/32"));
        Ruleset::from(nat_output(vec![[service, Expr::dport(L4::Udp, 53), Expr::Dnat(target)].into()]))
    };
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    for socket in [&old, &new] {
        socket.set_nonblocking(true).expect("nonblocking");
    }
    let got = |socket: &UdpSocket| {
        client.send_to(b"x", "127.96.0.1:53").expect("send");
        socket.recv_from(&mut [0; 8]).is_ok()
    };
    apply(&to(&old)).expect("apply");
    assert!(got(&old));
    apply(&to(&new)).expect("apply");
    assert!(got(&old), "the kernel goes on with the flow that it tracks");
    let gone = old.local_addr().expect("addr");
    let count = conntrack::forget(L4::Udp, false, |flow| flow.answers == gone).expect("forget");
    assert_eq!(count, 1);
    assert!(got(&new));
    delete_table(Family::Inet, TABLE).expect("delete");
}

fn key(addr: &str, port: u16) -> MapKey {
    MapKey { addr: addr.parse().expect("address"), l4: L4::Tcp, port }
}

fn verdict_map() {
    let (_listener, port) = listen();
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let map = VerdictMap {
        name: "services".into(),
        v6: false,
        entries: vec![(key("127.96.0.1", 80), Verdict::Goto("svc-a".into())), (key("127.96.0.2", 80), Verdict::Drop)],
    };
    let lookup = [Expr::DestinationMap { map: "services".into(), v6: false }];
    let table = nat_output(vec![lookup.into()])
        .chain(Chain::new("svc-a").rule([Expr::L4Proto(L4::Tcp), Expr::Dnat(target)]))
        .map(map);
    with(table, || {
        assert!(reaches("127.96.0.1:80"));
        assert!(!reaches("127.96.0.1:81"));
        assert!(!reaches("127.96.0.3:80"));
    });
}

fn large_map() {
    let (_listener, port) = listen();
    let entries = (0..3000u16)
        .map(|i| (key(&format!("127.80.{}.{}", i / 250, i % 250 + 1), 80), Verdict::Goto("to".into())))
        .collect();
    let lookup = [Expr::DestinationMap { map: "services".into(), v6: false }];
    let table = nat_output(vec![lookup.into()])
        .chain(Chain::new("to").rule([Expr::L4Proto(L4::Tcp), Expr::Redirect(port)]))
        .map(VerdictMap { name: "services".into(), v6: false, entries });
    with(table, || {
        assert!(reaches("127.80.11.250:80"));
        assert!(!reaches("127.80.12.1:80"));
    });
}

fn replaces() {
    let (_listener, port) = listen();
    let to = |p: u16| nat_output(vec![[Expr::dport(L4::Tcp, p), Expr::Redirect(port)].into()]);
    apply(&to(80).into()).expect("first");
    with(to(81), || {
        assert!(!reaches("127.0.0.9:80"));
        assert!(reaches("127.0.0.9:81"));
    });
}

fn refused() {
    let (_listener, port) = listen();
    let good = nat_output(vec![[Expr::dport(L4::Tcp, 80), Expr::Redirect(port)].into()]);
    with(good, || {
        let bad = nat_output(vec![[Expr::Counter, Expr::jump("nowhere")].into()]);
        let error = apply(&bad.into()).expect_err("refused").to_string();
        assert!(error.contains("`counter jump nowhere` in chain output of table lateen-test"), "{error}");
        assert!(reaches("127.0.0.9:80"), "the former rules stay");
    });
}

fn owned() {
    let (_listener, port) = listen();
    let to = |p: u16| Ruleset::from(nat_output(vec![[Expr::dport(L4::Tcp, p), Expr::Redirect(port)].into()]));
    let owner = apply_owned(&to(80)).expect("owned");
    assert!(reaches("127.0.0.9:80"));
    owner.replace(&to(81)).expect("replace");
    assert!(reaches("127.0.0.9:81") && !reaches("127.0.0.9:80"));
    drop(owner);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!reaches("127.0.0.9:81"));
}

fn everything() {
    let v4: IpAddr = [10, 0, 0, 1].into();
    let mut filter = Chain::base("in", HookKind::Filter, Hook::Input, priority::FILTER).policy(Policy::Accept);
    filter.push([Expr::CtState(vec![CtState::Established, CtState::Related]), Expr::accept()]);
    filter.push([Expr::Iifname(Op::Ne, "eth*".into()), Expr::CtMark(Op::Eq, 5), Expr::drop()]);
    let post = Chain::base("post", HookKind::Nat, Hook::Postrouting, priority::SRCNAT)
        .rule([Expr::CtStatusDnat, Expr::Masquerade])
        .rule([Expr::saddr(Op::Eq, net("10.0.0.0/8")), Expr::Snat(v4)]);
    let pre = Chain::base("pre", HookKind::Nat, Hook::Prerouting, priority::DSTNAT).rule([
        Expr::FibDaddrLocal,
        Expr::L4Proto(L4::Tcp),
        Expr::Dnat(addr("10.0.0.1:80")),
    ]);
    let mangle = Chain::base("mangle", HookKind::Filter, Hook::Prerouting, priority::MANGLE)
        .rule([Expr::L4Proto(L4::Tcp), Expr::daddr(Op::Ne, net("::1/128")), Expr::Tproxy { v6: true, port: 1 }])
        .rule([Expr::L4Proto(L4::Tcp), Expr::daddr(Op::Ne, net("127.0.0.1/32")), Expr::Tproxy { v6: false, port: 1 }])
        .rule([Expr::SetCtMark(3), Expr::SetMark(4), Expr::SetMarkFromCt, Expr::SetCtMarkFromMark])
        .rule([Expr::goto("end")]);
    let route = Chain::base("route", HookKind::Route, Hook::Output, priority::MANGLE);
    let raw = Chain::base("raw", HookKind::Filter, Hook::Output, priority::RAW).rule([
        Expr::sport(L4::Udp, 15053),
        Expr::Counter,
        Expr::SetCtZone(2),
    ]);
    let v6 = VerdictMap {
        name: "six".into(),
        v6: true,
        entries: vec![(MapKey { addr: "fd00::1".parse().expect("addr"), l4: L4::Udp, port: 53 }, Verdict::Accept)],
    };
    let by_map = Chain::new("end").rule([Expr::DestinationMap { map: "six".into(), v6: true }]);
    let clients = SourceSet { name: "clients".into(), v6: true, timeout: Duration::from_secs(10) };
    let choice = Chain::new("choice")
        .rule([Expr::SourceInSet { set: "clients".into(), v6: true }, Expr::goto("end")])
        .rule([Expr::RememberSource { set: "clients".into(), v6: true }])
        .rule([Expr::GotoSpread(Spread::Inc, vec!["end".into(), "end".into()])]);
    let mut table = Table::new(Family::Inet, TABLE).map(v6).set(clients);
    table.chains = vec![by_map, choice, filter, post, pre, mangle, route, raw];
    let script = table.render();
    with(table, || {});
    nft_accepts(&script);
}

/// Our text is what the `nft` tool reads, where there is one to ask.
fn nft_accepts(script: &str) {
    let path = std::env::temp_dir().join(format!("lateen-nft-{}.nft", std::process::id()));
    std::fs::write(&path, script).expect("write");
    let output = Command::new("nft").arg("-c").arg("-f").arg(&path).output();
    std::fs::remove_file(&path).expect("remove");
    match output {
        Ok(output) => assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr)),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("no nft tool here: text not compared with it")
        }
        Err(e) => panic!("nft: {e}"),
    }
}

fn delete_missing() {
    delete_table(Family::Inet, "lateen-none").expect("no error");
}
