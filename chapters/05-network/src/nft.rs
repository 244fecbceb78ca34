//! nftables over netlink: the few things that a rule of ours says, and how they are sent.
//!
//! A ruleset is changed in batches, all or nothing (`NFNL_MSG_BATCH_BEGIN` … `END`). A rule is a little program: its
//! expressions load values into registers, compare them (a comparison that fails ends the rule), look them up in maps,
//! and at last give a verdict or translate an address. `nft --debug=netlink list ruleset` prints them in this form.

use std::ffi::{CStr, CString};
use std::io;

use anyhow::{Context, Result};
use netlink_bindings::nftables::{self as raw, Chained, Nfgenmsg, PushExprListAttrs, Request};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::push_header;
use netlink_socket2::{NetlinkSocket, ReplyError};

use crate::links::errno;

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

fn encode(batch: &mut Chained<'_>, table: &CStr, change: &Change) {
    let request = batch.request();
    match change {
        Change::NewTable => {
            request.set_create().op_newtable_do(&header()).encode().push_name(table);
        }
        Change::DeleteTable => {
            request.op_deltable_do(&header()).encode().push_name(table);
        }
        Change::NewChain(name, hook) => {
            let mut request = request.set_create().op_newchain_do(&header());
            let chain = request.encode().push_table(table).push_name(name);
            if let Some(hook) = hook {
                chain
                    .push_type(hook.kind)
                    .nested_hook()
                    .push_num(hook.number as u32)
                    .push_priority(hook.priority)
                    .end_nested();
            }
        }
        Change::NewMap(name, types) => {
            let mut request = request.set_create().op_newset_do(&header());
            let map = request.encode().push_table(table).push_name(name).push_flags(raw::SetFlags::Map as u32);
            // The number by which rules of the same batch could mean it; ours mean it by name, but it is required.
            map.push_id(1)
                .push_key_type(types.key.0)
                .push_key_len(types.key.1)
                .push_data_type(types.value.0)
                .push_data_len(types.value.1);
        }
        Change::Append(chain, rule) => {
            let mut request = request.set_create().set_append().op_newrule_do(&header());
            let list = request.encode().push_table(table).push_chain(chain).nested_expressions();
            push_all(list, rule).end_nested();
        }
        Change::Insert(chain, rule, comment) => {
            let mut request = request.set_create().op_newrule_do(&header());
            let list = request.encode().push_table(table).push_chain(chain).nested_expressions();
            push_all(list, rule).end_nested().push_userdata(&comment_data(comment));
        }
        Change::DeleteRule(chain, handle) => {
            request.op_delrule_do(&header()).encode().push_table(table).push_chain(chain).push_handle(*handle);
        }
        Change::AddElement(map, key, value) => {
            let mut request = request.set_create().op_newsetelem_do(&header());
            let list = request.encode().push_table(table).push_set(map).nested_elements();
            let element = list.nested_elem().nested_key().push_value(key).end_nested();
            element.nested_data().push_value(value).end_nested().end_nested().end_nested();
        }
        Change::DeleteElement(map, key) => {
            let mut request = request.op_delsetelem_do(&header());
            let list = request.encode().push_table(table).push_set(map).nested_elements();
            list.nested_elem().nested_key().push_value(key).end_nested().end_nested().end_nested();
        }
    }
}

fn push_all<P: Pusher>(mut list: PushExprListAttrs<P>, rule: &[Expression]) -> PushExprListAttrs<P> {
    for expression in rule {
        list = push(list, expression);
    }
    list
}

fn push<P: Pusher>(list: PushExprListAttrs<P>, expression: &Expression) -> PushExprListAttrs<P> {
    use Expression::*;
    let element = list.nested_elem();
    match expression {
        Meta(key, to) => element.nested_data_meta().push_key(*key).push_dreg(*to).end_nested().end_nested(),
        Payload(base, offset, length, to) => {
            let payload = element.nested_data_payload().push_dreg(*to);
            payload.push_base(*base).push_offset(*offset).push_len(*length).end_nested().end_nested()
        }
        DestinationType(to) => {
            let fib = element.nested_data_fib().push_dreg(*to);
            fib.push_result(NFT_FIB_RESULT_ADDRTYPE).push_flags(NFTA_FIB_F_DADDR).end_nested().end_nested()
        }
        Connection(key, to) => element.nested_data_ct().push_dreg(*to).push_key(*key).end_nested().end_nested(),
        Mask(register, mask) => {
            let bitwise = element.nested_data_bitwise().push_sreg(*register).push_dreg(*register).push_len(4);
            let bitwise = bitwise.nested_mask().push_value(mask).end_nested();
            bitwise.nested_xor().push_value(&[0; 4]).end_nested().end_nested().end_nested()
        }
        Equal(register, bytes) | Differs(register, bytes) => {
            let equal = matches!(expression, Equal(..));
            let operation = if equal { raw::CmpOps::Eq } else { raw::CmpOps::Neq };
            let comparison = element.nested_data_cmp().push_sreg(*register).push_op(operation as u32);
            comparison.nested_data().push_value(bytes).end_nested().end_nested().end_nested()
        }
        Lookup(map) => {
            let mut lookup = element.nested_data_lookup().push_set(map);
            // By hand: the bindings (0.3.5) number the two registers as if NFTA_LOOKUP_SET_ID stood before them.
            for (attribute, register) in [(NFTA_LOOKUP_SREG, KEY), (NFTA_LOOKUP_DREG, KEY)] {
                push_header(lookup.as_vec_mut(), attribute, 4);
                lookup.as_vec_mut().extend(register.to_be_bytes());
            }
            lookup.end_nested().end_nested()
        }
        TranslateDestination => {
            let nat = element.nested_data_nat().push_type(libc::NFT_NAT_DNAT as u32).push_family(libc::AF_INET as u32);
            nat.push_reg_addr_min(KEY).push_reg_proto_min(KEY + 1).end_nested().end_nested()
        }
        Masquerade => element.push_name(c"masq").end_nested(),
        Verdict(verdict) => push_verdict(element, *verdict as u32, None),
        Jump(chain) => push_verdict(element, raw::VerdictCode::Jump as u32, Some(chain)),
        Return => push_verdict(element, raw::VerdictCode::Return as u32, None),
    }
}

fn push_verdict<P: Pusher>(
    element: raw::PushExprAttrs<PushExprListAttrs<P>>,
    code: u32,
    chain: Option<&CStr>,
) -> PushExprListAttrs<P> {
    let immediate = element.nested_data_immediate().push_dreg(libc::NFT_REG_VERDICT as u32);
    let verdict = immediate.nested_data().nested_verdict().push_code(code);
    let verdict = match chain {
        Some(chain) => verdict.push_chain(chain),
        None => verdict,
    };
    verdict.end_nested().end_nested().end_nested().end_nested()
}

fn header() -> Nfgenmsg {
    Nfgenmsg { nfgen_family: libc::AF_INET as u8, ..Nfgenmsg::new() }
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

/// A comment as nft and iptables keep it with a rule: type 0, length, text, zero (libnftnl, `udata.h`).
fn comment_data(text: &str) -> Vec<u8> {
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend(text.as_bytes());
    data.push(0);
    data
}

fn comment_of(data: &[u8]) -> Option<String> {
    let [0, length, rest @ ..] = data else { return None };
    let text = rest.get(..usize::from(*length).checked_sub(1)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// `linux/netfilter/nf_tables.h`
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 1 << 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_survive() {
        assert_eq!(comment_of(&comment_data("md-1a2b3c4d in")).as_deref(), Some("md-1a2b3c4d in"));
        for data in [&[][..], &[0], &[0, 0], &[0, 9, b'x'], &[1, 2, b'x', 0]] {
            assert_eq!(comment_of(data), None, "{data:?}");
        }
    }
}
