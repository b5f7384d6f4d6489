//! A server in this process and a `kubectl` that talks to it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use lateen_apiserver::{Client, Config, Server};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

/// A running server; ends with the value.
pub struct Cluster {
    pub home: TempDir,
    pub client: Client,
    pub server: Server,
    /// Where it listens.
    pub url: String,
    serving: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What `kubectl` said.
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Cluster {
    pub async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let server = Server::open(Config::new(home.path().join("state"))).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        std::fs::write(home.path().join("kubeconfig"), server.kubeconfig(&url)).unwrap();
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(vec![listener]).await.unwrap() }
        });
        let cluster = Self { home, client: server.client(), server, url, serving };
        cluster.add_default_account("default").await;
        cluster
    }

    /// What the service account controller does in a whole cluster.
    pub async fn add_default_account(&self, namespace: &str) {
        let account = serde_json::json!({"metadata": {"name": "default"}});
        self.client.create(&lateen_apiserver::gvr::SERVICE_ACCOUNTS, namespace, account).await.unwrap();
    }

    /// Runs `kubectl` with words separated by spaces.
    pub async fn kubectl(&self, words: &str) -> Said {
        self.kubectl_with(&words.split_whitespace().collect::<Vec<_>>(), "").await
    }

    /// Runs `kubectl` with arguments and input.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Said {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let (home, input) = (self.home.path().to_owned(), input.to_owned());
        tokio::task::spawn_blocking(move || run(&home, &arguments, &input)).await.unwrap()
    }

    /// Applies manifests; panics where `kubectl` refuses.
    pub async fn apply(&self, manifest: &str) -> String {
        let said = self.kubectl_with(&["apply", "-f", "-"], manifest).await;
        assert!(said.ok, "{}\n{manifest}", said.err);
        said.out
    }

    /// Arguments that make `kubectl` use a token instead of the administrator's certificate.
    pub fn bearer(&self, token: &str) -> Vec<String> {
        let ca = self.home.path().join("ca.crt");
        std::fs::write(&ca, self.server.ca_pem()).unwrap();
        let words =
            ["--kubeconfig=/dev/null", "--server", &self.url, "--certificate-authority", &ca.display().to_string()];
        let mut all: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        all.push(format!("--token={token}"));
        all
    }

    /// What a `kubectl` command prints; panics where it fails.
    pub async fn output(&self, words: &str) -> String {
        let said = self.kubectl(words).await;
        assert!(said.ok, "kubectl {words}: {}{}", said.out, said.err);
        said.out
    }
}

fn run(home: &Path, arguments: &[String], input: &str) -> Said {
    use std::io::Write;
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(home.join("kubeconfig"))
        .args(arguments)
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Said::of(child.wait_with_output().unwrap())
}

/// The project's directory with the guide's manifests as users have them.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}
