//! nftables over netlink: the few things that a rule of ours says, and how they are sent.
//!
//! A ruleset is changed in batches, all or nothing (`NFNL_MSG_BATCH_BEGIN` … `END`). A rule is a little program: its
//! expressions load values into registers, compare them (a comparison that fails ends the rule), look them up in maps,
//! and at last give a verdict or translate an address. `nft --debug=netlink list ruleset` prints them in this form.

mod encode;

use std::ffi::{CStr, CString};
use std::io;
use std::sync::Mutex;

use anyhow::{Context, Result};
use netlink_bindings::nftables::{Chained, Nfgenmsg, Request};
use netlink_socket2::{NetlinkSocket, ReplyError};

use crate::links::errno;
use encode::{comment_of, encode, header};

/// A register of four bytes. A concatenated key takes consecutive ones, beginning with [`KEY`].
pub type Register = u32;
/// Where a key begins, and where the value found for it is put.
pub const KEY: Register = libc::NFT_REG32_00 as u32;

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads a property of the packet (`NFT_META_…`).
    Meta(u32, Register),
    /// Loads bytes of a header: base (`NFT_PAYLOAD_…`), offset, length.
    Payload(u32, u32, u32, Register),
    /// Loads the type of route to the packet's destination (`RTN_LOCAL`, …).
    DestinationType(Register),
    /// Loads a property of the packet's connection (`NFT_CT_…`).
    Connection(u32, Register),
    /// Ands a register with a mask of four bytes.
    Mask(Register, [u8; 4]),
    /// Goes on only if the register holds these bytes.
    Equal(Register, Vec<u8>),
    /// Goes on only if it holds other bytes.
    Differs(Register, Vec<u8>),
    /// Looks [`KEY`] up in a map and goes on, with the value in its place, only if it is there.
    Lookup(&'static CStr),
    /// Sends the packet to the address in [`KEY`] and the port in the register after it.
    TranslateDestination,
    /// Gives the packet the address of the interface by which it leaves.
    Masquerade,
    /// Ends with a verdict (`NF_ACCEPT`, `NF_DROP`).
    Verdict(i32),
    /// Goes on in another chain and comes back.
    Jump(&'static CStr),
    /// Leaves this chain.
    Return,
}

/// Where packets come into a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static CStr,
    /// `NF_INET_…`
    pub number: i32,
    /// `NF_IP_PRI_…`: lower comes first.
    pub priority: i32,
}

/// A map's types: data types as nft knows them, and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapTypes {
    /// Type and length of a key.
    pub key: (u32, u32),
    /// Type and length of a value.
    pub value: (u32, u32),
}

/// One change to a ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes a table.
    NewTable,
    /// Takes a table away with all in it.
    DeleteTable,
    /// Makes a chain, with a hook if packets come into it by themselves.
    NewChain(&'static CStr, Option<Hook>),
    /// Makes an empty map.
    NewMap(&'static CStr, MapTypes),
    /// Adds a rule to a chain: at its end.
    Append(&'static CStr, Vec<Expression>),
    /// Adds a rule to a chain: at its beginning, with a comment.
    Insert(&'static CStr, Vec<Expression>, String),
    /// Takes the rule of that handle away.
    DeleteRule(&'static CStr, u64),
    /// Adds key and value to a map.
    AddElement(&'static CStr, Vec<u8>, Vec<u8>),
    /// Takes a key out of a map.
    DeleteElement(&'static CStr, Vec<u8>),
}

/// A rule that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number in the table.
    pub handle: u64,
    /// Its comment.
    pub comment: String,
}

/// A socket for the rules of one network namespace, and the name of a table of the family `ip` there.
pub struct Table {
    socket: NetlinkSocket,
    name: CString,
}

impl Table {
    /// Looks at nothing yet.
    pub fn new(name: &str) -> Result<Table> {
        Ok(Table { socket: NetlinkSocket::new(), name: CString::new(name).context("a table's name")? })
    }

    /// Whether the table is there.
    pub fn exists(&mut self) -> Result<bool> {
        let mut request = Request::new().op_gettable_do(&header());
        request.encode().push_name(&self.name);
        let mut reply = self.socket.request(&request).map_err(no_nftables)?;
        found(reply.recv_one())
            .with_context(|| format!("look for the nftables table {:?}", self.name))
            .map(|it| it.is_some())
    }

    /// The policy of a chain (`NF_ACCEPT`, `NF_DROP`; none where no hook leads into it); `None` if there is no such chain.
    pub fn chain_policy(&mut self, chain: &CStr) -> Result<Option<Option<i32>>> {
        let mut request = Request::new().op_getchain_do(&header());
        request.encode().push_table(&self.name).push_name(chain);
        let mut reply = self.socket.request(&request).map_err(no_nftables)?;
        let found = found(reply.recv_one()).with_context(|| format!("look for the nftables chain {chain:?}"))?;
        Ok(found.map(|(_, attributes)| attributes.get_policy().ok().map(|policy| policy as i32)))
    }

    /// The rules of a chain that have a comment.
    pub fn commented_rules(&mut self, chain: &CStr) -> Result<Vec<Rule>> {
        let mut request = Request::new().op_getrule_dump(&header());
        request.encode().push_table(&self.name).push_chain(chain);
        let mut reply = self.socket.request(&request).map_err(no_nftables)?;
        let mut rules = Vec::new();
        while let Some(answer) = reply.recv() {
            let (_, attributes) = answer.with_context(|| format!("list the rules of the chain {chain:?}"))?;
            if let (Ok(handle), Ok(data)) = (attributes.get_handle(), attributes.get_userdata())
                && let Some(comment) = comment_of(data)
            {
                rules.push(Rule { handle, comment });
            }
        }
        Ok(rules)
    }

    /// Lets go of the socket, later: at the next call, or when the process ends.
    ///
    /// Closing one just after something was deleted waits until the kernel has freed it, 5 to 10 ms (nf_tables flushes
    /// its queue when a netlink socket closes, since the socket could own tables).
    pub fn park(self) {
        static PARKED: Mutex<Option<NetlinkSocket>> = Mutex::new(None);
        if let Ok(mut parked) = PARKED.lock() {
            *parked = Some(self.socket);
        }
    }

    /// Carries changes out, all or none.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), ReplyError> {
        let sequence = self.socket.reserve_seq(changes.len() as u32 + 2);
        let mut batch = Chained::new(sequence);
        let mut frame = Nfgenmsg::new();
        frame.set_res_id(libc::NFNL_SUBSYS_NFTABLES as u16);
        batch.request().op_batch_begin_do(&frame);
        for change in changes {
            encode(&mut batch, &self.name, change);
        }
        batch.request().op_batch_end_do(&frame);
        self.socket.request_chained(&batch.finalize())?.recv_all()
    }
}

/// An answer, or `None` where the kernel says that there is no such thing.
fn found<T>(answer: Result<T, ReplyError>) -> Result<Option<T>, ReplyError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn no_nftables(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("ask nftables (does this kernel have it? CONFIG_NF_TABLES, modprobe nf_tables)")
}
