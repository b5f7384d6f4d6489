//! Small conversions from Envoy's messages.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use lateen_api::envoy::envoy::config::core::v3::{
    Address, CidrRange, HeaderValueOption, RuntimeFractionalPercent, SocketAddress, address, socket_address,
};
use lateen_api::envoy::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, header_matcher::HeaderMatchSpecifier,
    query_parameter_matcher::QueryParameterMatchSpecifier,
};
use lateen_api::envoy::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use lateen_api::envoy::envoy::r#type::v3::FractionalPercent;
use lateen_api::envoy::google::protobuf::{Any, BoolValue, Duration as ProtoDuration, UInt32Value};
use prost::{Message, Name};

use super::LoadError;
use crate::format::Format;
use crate::fraction::Fraction;
use crate::header_match::{HeaderMatch, QueryMatch, ValueMatch};
use crate::header_ops::{Append, HeaderOps, HeaderWrite};
use crate::pattern::{Pattern, StringMatch};

/// Decodes a message.
pub fn decode<M: Message + Default + Name>(bytes: &[u8]) -> Result<M, LoadError> {
    M::decode(bytes).map_err(|source| LoadError::Decode { what: M::full_name(), source })
}

/// Whether `any` holds a message of type `M`.
pub fn is<M: Name>(any: &Any) -> bool {
    any.type_url.rsplit('/').next() == Some(&M::full_name())
}

/// Decodes what `any` holds, which must be of type `M`.
pub fn unpack<M: Message + Default + Name>(any: &Any) -> Result<M, LoadError> {
    if !is::<M>(any) {
        return Err(LoadError::Unsupported(format!("{} in place of {}", any.type_url, M::full_name())));
    }
    decode(&any.value)
}

pub fn duration(value: &ProtoDuration) -> Duration {
    let seconds = u64::try_from(value.seconds).unwrap_or(0);
    Duration::new(seconds, u32::try_from(value.nanos).unwrap_or(0).min(999_999_999))
}

/// A duration of which zero and absence mean none.
pub fn some_duration(value: Option<&ProtoDuration>) -> Option<Duration> {
    value.map(duration).filter(|duration| !duration.is_zero())
}

pub fn number(value: Option<UInt32Value>) -> Option<u32> {
    value.map(|value| value.value)
}

pub fn truth(value: Option<&BoolValue>, default: bool) -> bool {
    value.map_or(default, |value| value.value)
}

pub fn port(value: u32) -> Result<u16, LoadError> {
    u16::try_from(value).map_err(|_| LoadError::invalid(format!("{value} is not a port: use 0 to 65535")))
}

/// Host and port of a socket address.
pub fn host_port(address: &SocketAddress) -> Result<(&str, u16), LoadError> {
    match address.port_specifier {
        Some(socket_address::PortSpecifier::PortValue(value)) => Ok((&address.address, port(value)?)),
        _ => Err(LoadError::invalid(format!("address {:?} has no port number", address.address))),
    }
}

pub fn socket_addr(address: &SocketAddress) -> Result<SocketAddr, LoadError> {
    let (host, port) = host_port(address)?;
    let ip: IpAddr = host.parse().map_err(|_| LoadError::invalid(format!("{host:?} is not an IP address")))?;
    Ok(SocketAddr::new(ip, port))
}

/// The address of a listener.
pub fn listener_addr(address: Option<&Address>) -> Result<SocketAddr, LoadError> {
    match address.and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => socket_addr(socket),
        _ => Err(LoadError::invalid("the listener has no socket address")),
    }
}

pub fn prefix(range: &CidrRange) -> Result<IpNet, LoadError> {
    let bad = || LoadError::invalid(format!("{:?} is not an IP prefix", range.address_prefix));
    let ip: IpAddr = range.address_prefix.parse().map_err(|_| bad())?;
    let length = range.prefix_len.map_or(0, |len| len.value);
    let net = IpNet::new(ip, u8::try_from(length).map_err(|_| bad())?).map_err(|_| bad())?;
    Ok(net.trunc())
}

pub fn prefixes(ranges: &[CidrRange]) -> Result<Vec<IpNet>, LoadError> {
    ranges.iter().map(prefix).collect()
}

pub fn fraction(value: &FractionalPercent) -> Fraction {
    let denominator = match value.denominator {
        1 => 10_000,
        2 => 1_000_000,
        _ => 100,
    };
    Fraction::new(value.numerator, denominator)
}

pub fn runtime_fraction(value: &RuntimeFractionalPercent) -> Fraction {
    value.default_value.as_ref().map_or(Fraction::ALL, fraction)
}

pub fn string_match(matcher: &StringMatcher) -> Result<StringMatch, LoadError> {
    let fold =
        |text: &str| -> Box<str> { if matcher.ignore_case { text.to_ascii_lowercase().into() } else { text.into() } };
    let inner = match &matcher.match_pattern {
        Some(MatchPattern::Exact(text)) => StringMatch::Exact(fold(text)),
        Some(MatchPattern::Prefix(text)) => StringMatch::Prefix(fold(text)),
        Some(MatchPattern::Suffix(text)) => StringMatch::Suffix(fold(text)),
        Some(MatchPattern::Contains(text)) => StringMatch::Contains(fold(text)),
        Some(MatchPattern::SafeRegex(regex)) => {
            return Ok(StringMatch::Regex(Pattern::new(&regex.regex)?));
        }
        Some(MatchPattern::Custom(custom)) => {
            return Err(LoadError::Unsupported(format!("string matcher {:?}", custom.name)));
        }
        None => return Err(LoadError::invalid("a string matcher is empty")),
    };
    Ok(if matcher.ignore_case { StringMatch::IgnoreCase(Box::new(inner)) } else { inner })
}

pub fn header_match(matcher: &HeaderMatcher) -> Result<HeaderMatch, LoadError> {
    let value = match matcher.header_match_specifier.as_ref() {
        None => ValueMatch::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(want)) => ValueMatch::Present(*want),
        Some(HeaderMatchSpecifier::ExactMatch(text)) => ValueMatch::String(StringMatch::Exact(text.as_str().into())),
        Some(HeaderMatchSpecifier::PrefixMatch(text)) => ValueMatch::String(StringMatch::Prefix(text.as_str().into())),
        Some(HeaderMatchSpecifier::SuffixMatch(text)) => ValueMatch::String(StringMatch::Suffix(text.as_str().into())),
        Some(HeaderMatchSpecifier::ContainsMatch(text)) => {
            ValueMatch::String(StringMatch::Contains(text.as_str().into()))
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => {
            ValueMatch::String(StringMatch::Regex(Pattern::new(&regex.regex)?))
        }
        Some(HeaderMatchSpecifier::StringMatch(inner)) => ValueMatch::String(string_match(inner)?),
        Some(HeaderMatchSpecifier::RangeMatch(range)) => ValueMatch::Range(range.start..range.end),
    };
    Ok(HeaderMatch {
        name: matcher.name.to_ascii_lowercase().into(),
        value,
        invert: matcher.invert_match,
        missing_is_empty: matcher.treat_missing_header_as_empty,
    })
}

pub fn header_matches(matchers: &[HeaderMatcher]) -> Result<Vec<HeaderMatch>, LoadError> {
    matchers.iter().map(header_match).collect()
}

pub fn query_match(matcher: &QueryParameterMatcher) -> Result<QueryMatch, LoadError> {
    let value = match &matcher.query_parameter_match_specifier {
        Some(QueryParameterMatchSpecifier::StringMatch(inner)) => Some(string_match(inner)?),
        _ => None,
    };
    Ok(QueryMatch { name: matcher.name.as_str().into(), value })
}

pub fn header_ops(add: &[HeaderValueOption], remove: &[String]) -> Result<HeaderOps, LoadError> {
    let write = add.iter().map(header_write).collect::<Result<_, _>>()?;
    Ok(HeaderOps { remove: remove.iter().map(|name| name.to_ascii_lowercase().into()).collect(), write })
}

fn header_write(option: &HeaderValueOption) -> Result<HeaderWrite, LoadError> {
    let header = option.header.as_ref().ok_or_else(|| LoadError::invalid("a header to add has no name"))?;
    let name = header.key.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err(LoadError::invalid(format!("{name:?} is not a header name")));
    }
    if header.value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(LoadError::invalid(format!("the value of header {name:?} has a line break")));
    }
    let append = match (&option.append, option.append_action) {
        (Some(append), _) if !append.value => Append::Overwrite,
        (_, 1) => Append::IfAbsent,
        (_, 2) => Append::Overwrite,
        (_, 3) => Append::OverwriteIfPresent,
        _ => Append::Append,
    };
    Ok(HeaderWrite {
        name: name.into(),
        value: Format::new(&header.value)?,
        append,
        keep_empty: option.keep_empty_value,
    })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte)
}
