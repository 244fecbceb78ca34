//! Small servers and clients. A server says `ready` when it can be reached.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};

/// After this nobody will answer any more, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives back every line that comes, one connection after the other, and says who asked.
pub fn tcp_echo(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).with_context(|| format!("listen on port {port}"))?;
    println!("ready");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let peer = stream.peer_addr()?.ip();
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        println!("{peer} {text}");
        stream.write_all(format!("{peer} {text}").as_bytes())?;
    }
    Ok(())
}

/// The same for datagrams.
pub fn udp_echo(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", port)).with_context(|| format!("listen on port {port}"))?;
    println!("ready");
    let mut buffer = [0; 1500];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        socket.send_to(format!("{} {text}", peer.ip()).as_bytes(), peer)?;
    }
}

/// Answers every request with `body`.
pub fn http(port: u16, body: &str) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).with_context(|| format!("listen on port {port}"))?;
    println!("ready");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    }
    Ok(())
}

/// Sends `text` to `ADDRESS:PORT`, prints the answer.
pub fn tcp(address: &str, text: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("the address must be IP:PORT")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("read from {address}"))?;
    println!("{answer}");
    Ok(())
}

/// The same with one datagram each way.
pub fn udp(address: &str, text: &str) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(text.as_bytes(), address).with_context(|| format!("send to {address}"))?;
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).with_context(|| format!("read from {address}"))?;
    println!("{}", String::from_utf8_lossy(&buffer[..length]));
    Ok(())
}
