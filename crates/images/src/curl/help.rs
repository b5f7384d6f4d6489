//! `--help` and `--version`.

pub(super) const HELP: &str = "\
Usage: curl [options...] <url>
 -d, --data <data>           HTTP POST data (also --data-raw, --data-binary, --data-urlencode, --json)
 -f, --fail                  Fail fast with no output on HTTP errors
 -G, --get                   Put the post data in the URL and use GET
 -h, --help                  This text
 -H, --header <header>       Pass custom header to server
 -i, --include               Include response headers in output
 -I, --head                  Show document info only
 -k, --insecure              Allow insecure server connections
 -L, --location              Follow redirects
 -m, --max-time <seconds>    Maximum time allowed for transfer (also --connect-timeout)
 -o, --output <file>         Write to file instead of stdout (-O: name of the URL's last part)
 -A, --user-agent <name>     Send User-Agent <name> to server
 -b, --cookie <data>         Send cookies
 -e, --referer <URL>         Referer URL
 -u, --user <user:password>  Server user and password
 -s, --silent                Silent mode (-S: show errors even so)
 -v, --verbose               Make the operation more talkative
 -w, --write-out <format>    Output FORMAT after completion
 -X, --request <method>      Specify request method to use
     --resolve <host:port:addr>, --connect-to <h1:p1:h2:p2>
     --cacert <file>, -E/--cert <file>, --key <file>
     --http1.0, --http1.1, --http2, --http2-prior-knowledge
     --retry <num>, --retry-delay <seconds>, --retry-connrefused, --retry-all-errors
 -V, --version               Show version number and quit
";

pub(super) const VERSION: &str = concat!(
    "curl 8.14.1 (Lateen ",
    env!("CARGO_PKG_VERSION"),
    "'s own, with curl's options)\nProtocols: http https\nFeatures: HTTP2 IPv6 SSL\n"
);
