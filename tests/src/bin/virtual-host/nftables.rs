//! Which nftables tables this network namespace has, asked by netlink so that no `nft` program is needed.

use std::os::fd::AsRawFd;

use anyhow::{Result, bail};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const NFT_MSG_NEWTABLE: u16 = 10 << 8;
const NFT_MSG_GETTABLE: u16 = (10 << 8) | 1;
const NFTA_TABLE_NAME: u16 = 1;

/// The tables as `FAMILY NAME`, family being a number (2 ip, 10 ip6, 1 inet).
///
/// A kernel without nftables has none.
pub fn tables() -> Result<Vec<String>> {
    let netfilter = SockProtocol::NetlinkNetFilter;
    let Ok(socket) = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, netfilter) else {
        return Ok(Vec::new());
    };
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // struct nlmsghdr { len, type, flags, seq, pid } and struct nfgenmsg { family, version, res_id }.
    let mut request = Vec::new();
    request.extend(20u32.to_ne_bytes());
    request.extend(NFT_MSG_GETTABLE.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend(1u32.to_ne_bytes());
    request.extend(0u32.to_ne_bytes());
    request.extend([0; 4]);
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let size = number32(rest) as usize;
            if size < 16 || size > rest.len() {
                bail!("a netlink message of {size} bytes");
            }
            match number16(&rest[4..]) {
                NLMSG_DONE => return Ok(found),
                // EPERM, EOPNOTSUPP: nothing that we could have made, then.
                NLMSG_ERROR => return Ok(found),
                NFT_MSG_NEWTABLE => found.extend(table(&rest[16..size])),
                _ => {}
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// One table's family and name, from an nfgenmsg and its attributes.
fn table(message: &[u8]) -> Option<String> {
    let family = *message.first()?;
    let mut attributes = message.get(4..)?;
    while attributes.len() >= 4 {
        let size = number16(attributes) as usize;
        if number16(&attributes[2..]) == NFTA_TABLE_NAME {
            let name = attributes.get(4..size)?;
            return Some(format!("{family} {}", String::from_utf8_lossy(name).trim_end_matches('\0')));
        }
        attributes = attributes.get(size.max(4).next_multiple_of(4)..)?;
    }
    None
}

fn number32(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn number16(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes([bytes[0], bytes[1]])
}
