//! What pods reach outside of the cluster. The outside is an address of this machine that the test adds and removes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;

use anyhow::ensure;
use lateen_testkit::cluster::{User, eventually};

use crate::services::{SOON, World};

/// An address of the host that belongs to nothing else; it goes with this value.
struct Elsewhere;

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

impl Elsewhere {
    fn make() -> anyhow::Result<Self> {
        let this = Self;
        let status = Command::new("ip").args(["addr", "add", &format!("{ELSEWHERE}/32"), "dev", "lo"]).status()?;
        ensure!(status.success(), "ip addr add: {status}");
        Ok(this)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["addr", "del", &format!("{ELSEWHERE}/32"), "dev", "lo"]).status();
    }
}

/// A server outside of the cluster: it answers one line, over TCP and UDP.
fn serve_elsewhere() -> anyhow::Result<(u16, u16)> {
    let listener = TcpListener::bind((ELSEWHERE, 0))?;
    let socket = UdpSocket::bind((ELSEWHERE, 0))?;
    let ports = (listener.local_addr()?.port(), socket.local_addr()?.port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nelsewhere");
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    });
    Ok(ports)
}

#[test]
fn pods_reach_what_is_outside() -> anyhow::Result<()> {
    let _elsewhere = Elsewhere::make()?;
    let (tcp, udp) = serve_elsewhere()?;
    for user in [User::Root, User::Nobody] {
        let world = World::start(user)?;
        let url = format!("http://{ELSEWHERE}:{tcp}/");
        for client in [World::plain, World::meshed] {
            eventually(SOON, || {
                let body = client(&world, &url)?;
                ensure!(body == "elsewhere", "{user:?}: {body}");
                Ok(())
            })?;
        }
        let script =
            format!("exec 3<>/dev/udp/{ELSEWHERE}/{udp}; echo there >&3; timeout 5 dd bs=64 count=1 <&3 2>/dev/null");
        let back = world.kubectl.exec("deploy/curl", &["bash", "-c", &script])?;
        ensure!(back.trim() == "there", "{user:?}: {back:?}");
        let closed = world.plain(&format!("http://{ELSEWHERE}:1/")).unwrap_err();
        ensure!(!format!("{closed:#}").contains("timed out"), "a refusal is told at once: {closed:#}");
        let links = String::from_utf8(Command::new("ip").args(["-o", "link"]).output()?.stdout)?;
        ensure!(!links.contains("pod-"), "nothing of the cluster is on the host: {links}");
    }
    Ok(())
}
