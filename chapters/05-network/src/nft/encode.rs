//! Changes and rules as netlink messages.

use std::ffi::CStr;

use netlink_bindings::nftables::{self as raw, Chained, Nfgenmsg, PushExprListAttrs};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::push_header;

use super::{Change, Expression, KEY};

/// Appends a change to a batch.
pub(super) fn encode(batch: &mut Chained<'_>, table: &CStr, change: &Change) {
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

/// Every message says which family it is about: `ip`.
pub(super) fn header() -> Nfgenmsg {
    Nfgenmsg { nfgen_family: libc::AF_INET as u8, ..Nfgenmsg::new() }
}

/// A comment as nft and iptables keep it with a rule: type 0, length, text, zero (libnftnl, `udata.h`).
fn comment_data(text: &str) -> Vec<u8> {
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend(text.as_bytes());
    data.push(0);
    data
}

/// The text of a comment.
pub(super) fn comment_of(data: &[u8]) -> Option<String> {
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
