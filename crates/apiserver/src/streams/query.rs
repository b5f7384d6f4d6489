//! What a stream request asks for, in its query string.

use serde_json::Value;

use crate::runtime::{ContainerRef, LogOptions};
use crate::status::Status;

/// Parameters in order; a name may occur several times.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|p| !p.is_empty());
        let split = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Self(pairs.map(split).collect())
    }

    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|v| !v.is_empty())
    }

    pub(super) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.one(name), Some("true" | "1" | "TRUE" | "True" | "t"))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Status::bad_request(format!("{name} must be a whole number, not {text:?}")))
        };
        self.one(name).map(parse).transpose()
    }
}

/// `%41` and `+` as in a form.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok()))
            .flatten();
        match (bytes[at], hex) {
            (_, Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Which of the process's streams the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Wanted {
    pub(super) fn of(query: &Query) -> Result<Self, Status> {
        let tty = query.flag("tty");
        let wanted = Self {
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            // With a terminal, output and errors are one.
            stderr: query.flag("stderr") && !tty,
            tty,
        };
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            let text = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Status::bad_request(text));
        }
        Ok(wanted)
    }
}

/// The options of a log request.
pub(super) fn log_options(query: &Query) -> Result<LogOptions, Status> {
    if query.one("sinceSeconds").is_some() && query.one("sinceTime").is_some() {
        return Err(Status::bad_request("give sinceSeconds or sinceTime, not both"));
    }
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: query.number("tailLines")?,
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.one("sinceTime").map(str::to_owned),
        timestamps: query.flag("timestamps"),
        limit_bytes: query.number("limitBytes")?,
    })
}

/// The container that the request means: the named one, else the pod's only one.
pub(super) fn container(pod: &Value, query: &Query) -> Result<ContainerRef, Status> {
    let metadata = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let names = |list: &str| -> Vec<&str> {
        let containers = pod["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
        containers.iter().filter_map(|c| c["name"].as_str()).collect()
    };
    let main = names("containers");
    let (init, debug) = (names("initContainers"), names("ephemeralContainers"));
    let pod_name = metadata("name");
    let container = match (query.one("container"), main.as_slice()) {
        (Some(name), _) if [&main, &init, &debug].iter().any(|l| l.contains(&name)) => name,
        (Some(name), _) => {
            let text = format!("container {name} is not valid for pod {pod_name}");
            return Err(Status::bad_request(text));
        }
        (None, [only]) => only,
        (None, _) => {
            let also = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", init.join(" "))
            };
            return Err(Status::bad_request(format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]{also}",
                main.join(" ")
            )));
        }
    };
    Ok(ContainerRef {
        namespace: metadata("namespace"),
        pod: pod_name,
        uid: metadata("uid"),
        container: container.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_decoded_and_kept_in_order() {
        let query = Query::parse(Some("command=sh&command=-c&command=echo+%22a%26b%22%20%zz&tty=true"));
        let command: Vec<_> = query.all("command").collect();
        assert_eq!(command, ["sh", "-c", "echo \"a&b\" %zz"]);
        assert!(query.flag("tty") && !query.flag("stdin"));
    }

    #[test]
    fn the_only_container_needs_no_name() {
        let pod = |names: &[&str]| {
            let list: Vec<_> = names.iter().map(|n| json!({"name": n})).collect();
            json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
                "spec": {"containers": list, "initContainers": [{"name": "init"}]}})
        };
        let ask = |pod: &Value, query| container(pod, &Query::parse(Some(query)));
        assert_eq!(ask(&pod(&["a"]), "").unwrap().container, "a");
        assert_eq!(ask(&pod(&["a", "b"]), "container=b").unwrap().container, "b");
        assert_eq!(ask(&pod(&["a", "b"]), "container=init").unwrap().container, "init");
        let unclear = ask(&pod(&["a", "b"]), "").unwrap_err();
        assert!(unclear.message.contains("choose one of: [a b] or one of the init containers: [init]"));
        let wrong = ask(&pod(&["a"]), "container=x").unwrap_err();
        assert_eq!(wrong.code, 400);
    }

    #[test]
    fn log_options_are_checked() {
        let parse = |query| log_options(&Query::parse(Some(query)));
        let options = parse("follow=true&tailLines=5&timestamps=true&limitBytes=10").unwrap();
        assert!(options.follow && options.timestamps);
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(5), Some(10)));
        assert_eq!(parse("tailLines=x").unwrap_err().code, 400);
        assert!(parse("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn a_terminal_has_no_separate_error_output() {
        let wanted = Wanted::of(&Query::parse(Some("stdin=1&stdout=1&stderr=1&tty=1"))).unwrap();
        assert!(wanted.stdout && !wanted.stderr);
        assert!(Wanted::of(&Query::parse(None)).is_err());
    }
}
