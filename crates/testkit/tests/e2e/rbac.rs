//! Who may do what: a pod with its mounted token, and users with the real `kubectl`.

use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::{
    cluster::{Cluster, User, eventually},
    kubectl::Kubectl,
};

const SHELL: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: shell, labels: {app: shell}}\nspec:\n  containers:\n  \
    - {name: shell, image: curlimages/curl, command: [sleep, 1d]}\n";

/// What a pod's program does that talks to the API server.
const ASK: &str = "folder=/var/run/secrets/kubernetes.io/serviceaccount; \
    curl -s --cacert $folder/ca.crt -H \"Authorization: Bearer ${TOKEN-$(cat $folder/token)}\" -w '\\n%{http_code}' ";

/// Answer and status code that the pod gets for a path of `https://kubernetes.default`.
fn ask(kubectl: &Kubectl, before: &str, path: &str) -> anyhow::Result<(String, String)> {
    let script = format!("{before}{ASK}https://kubernetes.default{path}");
    let said = kubectl.exec("shell", &["sh", "-c", &script])?;
    let (body, code) = said.rsplit_once('\n').unwrap_or(("", &said));
    Ok((code.to_owned(), body.to_owned()))
}

#[test]
fn pods_and_users_may_do_what_their_roles_say() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    kubectl.apply_text(SHELL)?;
    kubectl.wait_ready("app=shell")?;
    a_pod_asks_with_its_token(&kubectl)?;
    tokens_that_are_not_good(&kubectl)?;
    users_ask_with_kubectl(&kubectl)?;
    the_control_plane_has_its_own_role(&kubectl)
}

fn a_pod_asks_with_its_token(kubectl: &Kubectl) -> anyhow::Result<()> {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let (code, body) = ask(kubectl, "", PODS)?;
    let text = "pods is forbidden: User \\\"system:serviceaccount:default:default\\\" cannot list resource \\\"pods\\\" in \
                API group \\\"\\\" in the namespace \\\"default\\\"";
    ensure!(code == "403" && body.contains(text), "{code} {body}");
    let view = ["create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount=default:default"];
    kubectl.run(&view)?;
    let (code, body) = ask(kubectl, "", PODS)?;
    ensure!(code == "200" && body.contains("\"name\":\"shell\""), "{code} {body}");
    let (code, _) = ask(kubectl, "", "/api/v1/namespaces/default/secrets")?;
    ensure!(code == "403", "view does not show secrets: {code}");
    kubectl.run(&["delete", "rolebinding", "look"])?;
    ensure!(ask(kubectl, "", PODS)?.0 == "403", "what is taken away is gone at once");
    Ok(())
}

fn tokens_that_are_not_good(kubectl: &Kubectl) -> anyhow::Result<()> {
    let unauthorized = |token: &str| -> anyhow::Result<()> {
        let (code, body) = ask(kubectl, &format!("TOKEN={}; ", token.trim()), "/api/v1/pods")?;
        ensure!(
            code == "401" && body.contains("\"message\":\"Unauthorized\",\"reason\":\"Unauthorized\""),
            "{code} {body}"
        );
        Ok(())
    };
    unauthorized("a.b.c")?;
    unauthorized(&kubectl.run(&["create", "token", "default", "--audience=somebody-else"])?)?;
    kubectl.run(&["create", "serviceaccount", "short"])?;
    let token = kubectl.run(&["create", "token", "short"])?;
    let (code, _) = ask(kubectl, &format!("TOKEN={}; ", token.trim()), "/api/v1/pods")?;
    ensure!(code == "403", "a good token without a role: {code}");
    kubectl.run(&["delete", "serviceaccount", "short"])?;
    unauthorized(&token)
}

fn users_ask_with_kubectl(kubectl: &Kubectl) -> anyhow::Result<()> {
    let whoami = kubectl.run(&["auth", "whoami"])?;
    ensure!(whoami.contains("kubernetes-admin") && whoami.contains("system:masters"), "{whoami}");
    kubectl.run(&["create", "rolebinding", "ann", "--clusterrole=edit", "--user=ann"])?;
    let can = |what: &[&str]| -> anyhow::Result<String> {
        let output = kubectl.command(&[&["auth", "can-i", "--as=ann"], what].concat()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    ensure!(can(&["create", "deployments.apps"])? == "yes", "edit may create deployments");
    ensure!(can(&["create", "deployments.apps", "-n", "istio-system"])? == "no", "not elsewhere");
    ensure!(can(&["create", "pods", "--subresource=exec"])? == "yes", "edit may run programs in pods");
    ensure!(can(&["--list"])?.contains("deployments.apps/scale"), "what may be done is listed");
    let said = kubectl.run(&["--as=ann", "exec", "shell", "--", "echo", "hello"])?;
    ensure!(said == "hello\n", "{said}");
    kubectl.run(&["create", "rolebinding", "bob", "--clusterrole=view", "--user=bob"])?;
    let refused = kubectl.run(&["--as=bob", "exec", "shell", "--", "echo", "hello"]).expect_err("bob may only look");
    ensure!(format!("{refused:#}").contains("resource \"pods/exec\" in API group \"\""), "{refused:#}");
    ensure!(kubectl.run(&["--as=bob", "logs", "shell"]).is_ok(), "logs are for looking");
    Ok(())
}

fn the_control_plane_has_its_own_role(kubectl: &Kubectl) -> anyhow::Result<()> {
    let istiod = "--as=system:serviceaccount:istio-system:istiod";
    let may = |words: &[&str]| kubectl.command(&[&["auth", "can-i", istiod], words].concat()).output();
    ensure!(
        may(&["watch", "virtualservices.networking.istio.io", "-A"])?.stdout == b"yes\n",
        "it reads its configuration"
    );
    ensure!(may(&["create", "clusterrolebindings"])?.stdout == b"no\n", "it hands out no rights");
    kubectl.run(&["label", "namespace", "default", "istio-injection=enabled"])?;
    kubectl.run(&["run", "web", "--image=hashicorp/http-echo", "--labels=app=web", "--", "-text=hi"])?;
    kubectl.wait_ready("app=web")?;
    eventually(Duration::from_secs(10), || {
        let log = kubectl.run(&["logs", "-n", "istio-system", "deployment/istiod"])?;
        ensure!(!log.contains("forbidden"), "{log}");
        Ok(())
    })
}
