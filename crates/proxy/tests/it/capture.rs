//! Istio's capture rules, as data: `nftables/` of the conformance folder.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use lateen_proxy::capture::{CaptureArgs, CaptureConfig, ruleset};
use serde::Deserialize;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: CaptureArgs,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    config: BTreeMap<String, serde_json::Value>,
    expected: String,
}

/// Rules by table and chain, in order.
type Rules = BTreeMap<String, Vec<String>>;

#[test]
fn rules_are_those_of_istio() {
    let root = std::env::var("LATEEN_CONFORMANCE").map(PathBuf::from);
    let root = root.unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"));
    let Ok(files) = std::fs::read_dir(root.join("nftables")) else {
        println!("nftables: skipped, no {}; set LATEEN_CONFORMANCE", root.join("nftables").display());
        return;
    };
    let mut paths: Vec<_> = files.map(|f| f.expect("entry").path()).collect();
    paths.sort();
    let mut failed = Vec::new();
    for path in &paths {
        let case: Case = serde_saphyr::from_str(&std::fs::read_to_string(path).expect("read")).expect("case");
        if let Err(difference) = check(&case) {
            failed.push(format!("{}: {difference}", case.id));
        }
    }
    println!("nftables: passed {} of {}", paths.len() - failed.len(), paths.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn check(case: &Case) -> Result<(), String> {
    let mut flags = vec!["capture".to_owned()];
    let mut nameservers: Vec<IpAddr> = Vec::new();
    let mut ipv6 = false;
    for (key, value) in &case.config {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let flag = match key.as_str() {
            "proxy_port" => "--envoy-port",
            "inbound_capture_port" => "--inbound-capture-port",
            "inbound_tunnel_port" => "--inbound-tunnel-port",
            "proxy_uid" => "--proxy-uid",
            "proxy_gid" => "--proxy-gid",
            "inbound_tproxy_mark" => "--istio-inbound-tproxy-mark",
            "inbound_tproxy_route_table" => "--istio-inbound-tproxy-route-table",
            "owner_groups_include" => "--istio-outbound-owner-groups",
            "owner_groups_exclude" => "--istio-outbound-owner-groups-exclude",
            "host_ipv4_loopback_cidr" => "--host-ipv4-loopback-cidr",
            "inbound_ports_include" => "-b",
            "inbound_ports_exclude" => "-d",
            "inbound_interception_mode" => "-m",
            "outbound_ip_ranges_include" => "-i",
            "outbound_ip_ranges_exclude" => "-x",
            "outbound_ports_include" => "-q",
            "exclude_interfaces" => "-c",
            "reroute_virtual_interfaces" => "-k",
            "dry_run" | "redirect_dns" => {
                flags.extend((value == true).then(|| format!("--{}", key.replace('_', "-"))));
                continue;
            }
            "enable_ipv6" => {
                ipv6 = value == true;
                continue;
            }
            "dns_serversv4" => {
                nameservers.extend(serde_json::from_value::<Vec<IpAddr>>(value.clone()).expect("servers"));
                continue;
            }
            other => return Err(format!("unknown key {other}")),
        };
        flags.push(flag.to_owned());
        flags.push(text);
    }
    let command = Command::try_parse_from(flags).map_err(|e| e.to_string())?;
    let config = CaptureConfig::resolve(&command.args, &nameservers, ipv6).map_err(|e| e.to_string())?;
    let (ours, theirs) = (rules(&ruleset(&config).render()), rules(&case.expected));
    if ours == theirs { Ok(()) } else { Err(format!("\nours: {ours:#?}\nexpected: {theirs:#?}")) }
}

/// Carries a script out: what each chain holds at the end.
fn rules(script: &str) -> Rules {
    let mut rules = Rules::new();
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["add", "chain", "inet", table, chain, ref base @ ..] => {
                rules.insert(format!("{table}/{chain}"), vec![base.join(" ")]);
            }
            ["add", "rule", "inet", table, chain, ref rule @ ..] => {
                chain_of(&mut rules, table, chain).push(normal(rule));
            }
            ["insert", "rule", "inet", table, chain, "index", index, ref rule @ ..] => {
                let index: usize = index.parse().expect("index");
                // The first entry is how the chain is attached.
                chain_of(&mut rules, table, chain).insert(index + 1, normal(rule));
            }
            ["add" | "flush", "table", ..] => {}
            _ => panic!("unknown line {line}"),
        }
    }
    rules
}

fn chain_of<'a>(rules: &'a mut Rules, table: &str, chain: &str) -> &'a mut Vec<String> {
    rules.get_mut(&format!("{table}/{chain}")).expect("a rule's chain exists")
}

/// `meta skuid` and `skuid` are two spellings of one test.
fn normal(rule: &[&str]) -> String {
    rule.join(" ").replace("meta skuid", "skuid").replace("meta skgid", "skgid")
}

/// Marks the process that runs in a network namespace of its own.
const INSIDE: &str = "LATEEN_TEST_INSIDE";

#[test]
fn the_kernel_accepts_the_rules() {
    if std::env::var_os(INSIDE).is_some() {
        return apply_all();
    }
    let exe = std::env::current_exe().expect("test binary");
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net"]).arg(exe).env(INSIDE, "1");
    let output = command.args(["--exact", "capture::the_kernel_accepts_the_rules", "--nocapture"]).output();
    let output = output.expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn apply_all() {
    let usual = ["-b", "*", "-d", "15090,15021,15020", "-i", "*", "-x", "10.0.0.0/8,fd00::/8", "-o", "22"];
    let ways: [&[&str]; 5] = [
        &[],
        &["--proxy-mark", "1337"],
        &["--redirect-dns"],
        &["--redirect-dns", "--capture-all-dns", "--proxy-mark", "1337"],
        &["-c", "eth1", "-k", "eth2", "-q", "80,443", "--drop-invalid", "--dual-stack"],
    ];
    for more in ways {
        let flags = ["capture"].iter().chain(&usual).chain(more);
        let command = Command::try_parse_from(flags).expect("flags");
        let config = CaptureConfig::resolve(&command.args, &[[10, 96, 0, 10].into()], true).expect("settings");
        let rules = ruleset(&config);
        if let Err(error) = lateen_nft::apply(&rules) {
            panic!("{more:?}: {error}\n{}", rules.render());
        }
    }
}
