//! The proxy on loopback, against servers of this test's own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::*;
use crate::publish::Port;
use crate::reserve::reserve;

const LONG: std::time::Duration = std::time::Duration::from_secs(10);

/// A proxy in a thread of its own, and where it listens. Ends when the sender is dropped; gives the turns it took.
fn running(port: u16, protocol: &str) -> Result<(SocketAddr, mpsc::Sender<()>, JoinHandle<Result<usize>>)> {
    let ports = reserve(&Port::parse(&format!("127.0.0.1::{port}/{protocol}"))?)?;
    let address = (Ipv4Addr::LOCALHOST, ports[0].port.host_port).into();
    let (stop, stopped) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut proxy = Proxy::new(ports, Ipv4Addr::LOCALHOST)?;
        let mut turns = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            if poll(&mut [PollFd::new(&proxy, PollFlags::IN)], Some(&tick))? > 0 {
                proxy.turn()?;
                turns += 1;
            }
        }
        Ok(turns)
    });
    Ok((address, stop, thread))
}

fn turns(stop: mpsc::Sender<()>, thread: JoinHandle<Result<usize>>) -> Result<usize> {
    drop(stop);
    thread.join().unwrap_or_else(|_| anyhow::bail!("the proxy's thread panicked"))
}

#[test]
fn a_large_answer_to_a_half_closed_call() -> Result<()> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = server.local_addr()?.port();
    let echo = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = server.accept()?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        // The caller has finished; the answer goes the other way still.
        stream.write_all(&all)?;
        Ok(())
    });
    let (address, stop, thread) = running(port, "tcp")?;
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(LONG))?;
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 7) as u8).collect();
    client.write_all(&sent)?;
    client.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    client.read_to_end(&mut received)?;
    assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
    assert!(echo.join().is_ok_and(|result| result.is_ok()));
    turns(stop, thread)?;
    Ok(())
}

#[test]
fn nobody_listens() -> Result<()> {
    // Bound, so that no other test gets the port, and not listening.
    let deaf = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&deaf, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let deaf = TcpListener::from(deaf);
    let (address, stop, thread) = running(deaf.local_addr()?.port(), "tcp")?;
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(LONG))?;
    let error = client.read(&mut [0]).expect_err("the connection is reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    turns(stop, thread)?;
    Ok(())
}

#[test]
fn a_reader_that_does_not_read_does_not_spin() -> Result<()> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (address, stop, thread) = running(server.local_addr()?.port(), "tcp")?;
    let mut client = TcpStream::connect(address)?;
    client.set_write_timeout(Some(std::time::Duration::from_millis(100)))?;
    let (kept, _) = server.accept()?;
    // Until every buffer on the way is full.
    while client.write(&[0; 65536]).is_ok() {}
    thread::sleep(std::time::Duration::from_millis(200));
    let taken = turns(stop, thread)?;
    assert!(taken < 20_000, "{taken} turns");
    drop(kept);
    Ok(())
}

#[test]
fn datagrams_find_their_senders() -> Result<()> {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    server.set_read_timeout(Some(LONG))?;
    let (address, stop, thread) = running(server.local_addr()?.port(), "udp")?;
    let clients = [UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?];
    let mut buffer = [0; 16];
    for (client, word) in clients.iter().zip([b"one", b"two"]) {
        client.set_read_timeout(Some(LONG))?;
        client.send_to(word, address)?;
    }
    for _ in &clients {
        let (length, from) = server.recv_from(&mut buffer)?;
        server.send_to(&buffer[..length].to_ascii_uppercase(), from)?;
    }
    for (client, word) in clients.iter().zip([b"ONE", b"TWO"]) {
        let (length, from) = client.recv_from(&mut buffer)?;
        assert_eq!((&buffer[..length], from), (&word[..], address));
    }
    turns(stop, thread)?;
    Ok(())
}
