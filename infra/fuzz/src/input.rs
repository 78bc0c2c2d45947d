//! What the bytes of an input mean.

use std::net::IpAddr;

use http::Method;

use crate::draft::Draft;
use crate::queue::Outcome;
use crate::sources::{self, Source};

/// Five bytes before the request: source, signing, the way of signing, what is altered, and what the queue does.
const CHOICES: usize = 5;
/// Where the webhooks of the source with a list of addresses come from.
const ON_THE_LIST: [u8; 4] = [192, 0, 2, 7];
const NOT_ON_THE_LIST: [u8; 4] = [198, 51, 100, 7];

/// Who has signed the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// Nobody but the input.
    AsIs,
    /// The provider.
    Signed,
    /// The provider; then one byte of the proof, or of what it covers, was changed.
    Altered,
}

/// A request, and what becomes of it.
pub(crate) struct Input {
    pub(crate) source: &'static Source,
    pub(crate) signing: Signing,
    /// Which of the ways that the scheme has.
    pub(crate) way: u8,
    /// Which byte to change, and how.
    pub(crate) spot: u8,
    pub(crate) outcome: Outcome,
    pub(crate) client: Option<IpAddr>,
    /// The size of the pieces in which the body comes.
    pub(crate) chunk: Option<usize>,
    pub(crate) draft: Draft,
}

impl Input {
    /// Nothing where the bytes are too few, or begin like no request.
    pub(crate) fn read(bytes: &[u8]) -> Option<Input> {
        let (&[source, signing, way, spot, queue], request) = bytes.split_first_chunk::<CHOICES>()?;
        Some(Input {
            source: sources::by_letter(source),
            signing: match signing % 4 {
                0 => Signing::AsIs,
                1 | 3 => Signing::Signed,
                _ => Signing::Altered,
            },
            way,
            spot,
            outcome: match queue % 16 {
                1 => Outcome::Refused,
                2 => Outcome::TimedOut,
                3 => Outcome::Unroutable,
                4 => Outcome::TooLarge,
                _ => Outcome::Confirmed,
            },
            client: match queue % 16 {
                5 => None,
                6 => Some(IpAddr::from(NOT_ON_THE_LIST)),
                _ => Some(IpAddr::from(ON_THE_LIST)),
            },
            chunk: (queue % 16 >= 8).then_some(usize::from(queue % 8) + 1),
            draft: read_request(request)?,
        })
    }
}

/// `POST /type?query`, a line for each header, an empty line, and the body.
fn read_request(mut bytes: &[u8]) -> Option<Draft> {
    let first = take_line(&mut bytes);
    let end = first.iter().position(|byte| *byte == b' ').unwrap_or(first.len());
    let (method, target) = first.split_at(end);
    let mut draft = Draft {
        method: Method::from_bytes(method).ok()?,
        target: std::str::from_utf8(target.strip_prefix(b" ").unwrap_or_default()).ok()?.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    while !bytes.is_empty() {
        let line = take_line(&mut bytes);
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        draft.headers.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
    }
    draft.body = bytes.to_vec();
    Some(draft)
}

fn take_line<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    *bytes = rest.strip_prefix(b"\n").unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}
