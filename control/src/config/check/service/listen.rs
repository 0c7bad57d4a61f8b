//! `listen`: one address or a list.

use ringlead_wire::{Endpoint, Protocol};
use toml::Spanned;

use super::super::super::raw::OneOrMany;
use super::super::super::source::Span;
use super::super::super::values::address;
use super::super::{Findings, codes};

const LISTEN_MAX: usize = 64;

/// One entry an address, `None` where it is wrong. Without a protocol the addresses are still read.
pub(super) fn listen(
    value: &Spanned<OneOrMany<String>>,
    protocol: Option<Protocol>,
    findings: &mut Findings,
) -> Vec<Option<(Endpoint, Span)>> {
    let one;
    let list = match value.get_ref() {
        OneOrMany::One(text) => {
            one = [Spanned::new(value.span(), text.clone())];
            &one[..]
        }
        OneOrMany::Many(list) => list,
    };
    if list.is_empty() {
        findings.error(codes::MISSING, value.span(), "`listen` is empty").label("clients need an address");
    }
    if let Some(more) = list.get(LISTEN_MAX) {
        findings.error(
            codes::TOO_MANY,
            more.span(),
            format!("more than {LISTEN_MAX} addresses in one service"),
        );
    }
    list.iter()
        .map(|text| {
            let address = address(text, findings)?;
            Some((
                Endpoint { ip: address.ip().into(), port: address.port(), protocol: protocol? },
                text.span(),
            ))
        })
        .collect()
}
