//! Kubernetes' rules for names, label keys and label values, with its texts.

const DNS_LABEL_MAX: usize = 63;
const DNS_SUBDOMAIN_MAX: usize = 253;

fn is_edge(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_edge(*first) && is_edge(*last) && bytes.iter().all(|c| is_edge(*c) || *c == b'-')
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// What is wrong with a DNS subdomain (most objects' names).
pub fn dns1123_subdomain(text: &str) -> Option<String> {
    if text.len() > DNS_SUBDOMAIN_MAX {
        return Some(too_long(DNS_SUBDOMAIN_MAX));
    }
    if text.split('.').all(is_dns_label) {
        return None;
    }
    Some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
         or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex \
         used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .into(),
    )
}

/// What is wrong with a name that need only fit in a path (roles and their bindings).
pub fn path_segment(text: &str) -> Option<String> {
    if text == "." || text == ".." {
        return Some(format!("may not be '{text}'"));
    }
    ['/', '%'].iter().find(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'"))
}

/// What is wrong with a DNS label (namespaces, containers, ports of Services).
pub fn dns1123_label(text: &str) -> Option<String> {
    if text.len() > DNS_LABEL_MAX {
        return Some(too_long(DNS_LABEL_MAX));
    }
    if is_dns_label(text) {
        return None;
    }
    Some(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
         and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
         regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            .into(),
    )
}

/// What is wrong with a DNS label that starts with a letter (Services).
pub fn dns1035_label(text: &str) -> Option<String> {
    if text.len() > DNS_LABEL_MAX {
        return Some(too_long(DNS_LABEL_MAX));
    }
    if is_dns_label(text) && text.as_bytes()[0].is_ascii_lowercase() {
        return None;
    }
    Some(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
         an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
         'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            .into(),
    )
}

/// What is wrong with the name of a container's port.
pub fn port_name(text: &str) -> Option<String> {
    const MAX: usize = 15;
    let bytes = text.as_bytes();
    if text.len() > MAX {
        Some("must be no more than 15 characters".into())
    } else if !bytes.iter().all(|c| is_edge(*c) || *c == b'-') {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into())
    } else if !bytes.iter().any(u8::is_ascii_lowercase) {
        Some("must contain at least one letter (a-z)".into())
    } else if text.contains("--") {
        Some("must not contain consecutive hyphens".into())
    } else if text.starts_with('-') || text.ends_with('-') {
        Some("must not begin or end with a hyphen".into())
    } else {
        None
    }
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

/// What is wrong with a label or annotation key.
pub fn qualified_name(text: &str) -> Option<String> {
    const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
        must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
        '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((_, rest)) if rest.contains('/') => {
            return Some(format!(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and \
                 must start and end with an alphanumeric character with an optional DNS subdomain \
                 prefix and '/' (e.g. 'example.com/MyName'): {text:?}"
            ));
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".into()),
        Some(prefix) => {
            if let Some(error) = dns1123_subdomain(prefix) {
                return Some(format!("prefix part {error}"));
            }
        }
        None => {}
    }
    if name.is_empty() {
        Some("name part must be non-empty".into())
    } else if name.len() > DNS_LABEL_MAX {
        Some(format!("name part {}", too_long(DNS_LABEL_MAX)))
    } else if is_name_part(name) {
        None
    } else {
        Some(NAME.into())
    }
}

/// What is wrong with a label's value.
pub fn label_value(text: &str) -> Option<String> {
    if text.len() > DNS_LABEL_MAX {
        return Some(too_long(DNS_LABEL_MAX));
    }
    if text.is_empty() || is_name_part(text) {
        return None;
    }
    Some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
         '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
         'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            .into(),
    )
}
