//! The echo server's command line, as Istio's has it.

use std::str::FromStr;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Grpc,
    Tcp,
}

/// Where a port listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bind {
    All,
    /// The pod's own address, `INSTANCE_IP`.
    Instance,
    Localhost,
}

/// A port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub number: u16,
    pub kind: Kind,
    pub bind: Bind,
    pub tls: bool,
    pub server_first: bool,
    pub proxy_protocol: bool,
}

/// What the command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub ports: Vec<Port>,
    pub metrics: Option<u16>,
    pub version: String,
    pub cluster: String,
    pub istio_version: String,
    pub namespace: String,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub disable_alpn: bool,
}

/// The numbers that each flag was given.
#[derive(Default)]
struct Numbers {
    http: Vec<u16>,
    grpc: Vec<u16>,
    tcp: Vec<u16>,
    tls: Vec<u16>,
    server_first: Vec<u16>,
    proxy_protocol: Vec<u16>,
    instance: Vec<u16>,
    localhost: Vec<u16>,
}

/// Reads `--flag=value` and `--flag value`; numbers may be repeated and joined by commas.
pub(super) fn parse(args: &[String]) -> Result<Options, String> {
    let mut numbers = Numbers::default();
    let mut options = Options { metrics: Some(15014), ..Options::default() };
    // What follows the program's name in `command: [/usr/local/bin/server]` and in `args: [server, --port=...]`.
    let mut words =
        args.iter().skip_while(|word| word.as_str() == "server" || word.as_str() == "/usr/local/bin/server");
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            return Err(format!("unknown argument {word:?}"));
        };
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if name == "disable-alpn" {
            options.disable_alpn = inline.is_none_or(|value| value == "true");
            continue;
        }
        let value =
            inline.or_else(|| words.next().cloned()).ok_or_else(|| format!("flag needs an argument: --{name}"))?;
        set(&mut options, &mut numbers, name, value)?;
    }
    options.ports = ports(numbers)?;
    Ok(options)
}

fn set(options: &mut Options, numbers: &mut Numbers, name: &str, value: String) -> Result<(), String> {
    let list = match name {
        "port" => &mut numbers.http,
        "grpc" => &mut numbers.grpc,
        "tcp" => &mut numbers.tcp,
        "tls" => &mut numbers.tls,
        "server-first" => &mut numbers.server_first,
        "proxy-protocol" => &mut numbers.proxy_protocol,
        "bind-ip" => &mut numbers.instance,
        "bind-localhost" => &mut numbers.localhost,
        _ => return set_text(options, name, value),
    };
    for number in value.split(',') {
        list.push(number_of(name, number)?);
    }
    Ok(())
}

fn set_text(options: &mut Options, name: &str, value: String) -> Result<(), String> {
    match name {
        "metrics" => options.metrics = Some(number_of(name, &value)?).filter(|port| *port != 0),
        "version" => options.version = value,
        "cluster" => options.cluster = value,
        "istio-version" => options.istio_version = value,
        "namespace" => options.namespace = value,
        "crt" => options.certificate = Some(value),
        "key" => options.key = Some(value),
        // Client certificates are shown, whoever issued them; logs have one form and level.
        "ca" => {}
        _ if name.starts_with("log_") || name.starts_with("log-") => {}
        "uds" | "udp" | "hbone" | "xds-grpc-server" | "endpoint-picker" => {
            return Err(format!("--{name} is not supported by the built-in image"));
        }
        _ => return Err(format!("unknown flag: --{name}")),
    }
    Ok(())
}

fn number_of<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("invalid argument {text:?} for --{name}: not a port number"))
}

/// The ports to listen on; each kind has the original's default where its flag is absent.
fn ports(numbers: Numbers) -> Result<Vec<Port>, String> {
    let kinds = [(Kind::Http, &numbers.http, 8080), (Kind::Grpc, &numbers.grpc, 7070), (Kind::Tcp, &numbers.tcp, 9090)];
    let mut ports: Vec<Port> = Vec::new();
    for (kind, given, default) in kinds {
        let given = if given.is_empty() { &vec![default] } else { given };
        for &number in given {
            if ports.iter().any(|port| port.number == number) {
                return Err(format!("port {number} is given twice"));
            }
            ports.push(Port {
                number,
                kind,
                bind: match (numbers.instance.contains(&number), numbers.localhost.contains(&number)) {
                    (true, true) => return Err(format!("port {number} is given to --bind-ip and --bind-localhost")),
                    (true, false) => Bind::Instance,
                    (false, true) => Bind::Localhost,
                    (false, false) => Bind::All,
                },
                tls: numbers.tls.contains(&number),
                server_first: numbers.server_first.contains(&number),
                proxy_protocol: numbers.proxy_protocol.contains(&number),
            });
        }
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_say_what_each_port_does() {
        let args = "--metrics=15014 --cluster primary --port=18080 --port 18082,18084 --grpc=17070 --tcp=16060 \
                    --server-first=16060 --bind-ip=18082 --bind-localhost=18084 --tls=18080 --version v1 \
                    --crt=/cert.crt --log_output_level=debug";
        let options = parsed(&args.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!((options.cluster.as_str(), options.version.as_str()), ("primary", "v1"));
        let find = |number| options.ports.iter().find(|port| port.number == number).unwrap();
        assert_eq!(options.ports.len(), 5);
        assert!(find(18080).tls && find(18080).kind == Kind::Http && find(18080).bind == Bind::All);
        assert_eq!((find(18082).bind, find(18084).bind), (Bind::Instance, Bind::Localhost));
        assert!(find(16060).server_first && find(16060).kind == Kind::Tcp);
        assert_eq!(find(17070).kind, Kind::Grpc);
    }

    #[test]
    fn absent_flags_mean_the_usual_ports() {
        let numbers: Vec<u16> = parsed(&["server"]).unwrap().ports.iter().map(|port| port.number).collect();
        assert_eq!(numbers, [8080, 7070, 9090]);
    }

    #[test]
    fn wrong_flags_are_named() {
        for (args, words) in [
            (&["--port=http"][..], "--port"),
            (&["--port"], "needs an argument"),
            (&["--what=1"], "unknown flag: --what"),
            (&["--hbone=1"], "not supported"),
            (&["--port=1", "--tcp=1"], "given twice"),
            (&["--port=1", "--bind-ip=1", "--bind-localhost=1"], "--bind-localhost"),
        ] {
            let error = parsed(args).unwrap_err();
            assert!(error.contains(words), "{args:?}: {error}");
        }
    }
}
