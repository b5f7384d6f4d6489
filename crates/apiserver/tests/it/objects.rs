//! Everyday commands.

use lateen_apiserver::{PatchType, gvr};
use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn labels_patches_and_waits() {
    let cluster = Cluster::start().await;
    let said = cluster.output("label ns default istio-injection=enabled --overwrite").await;
    assert_eq!(said, "namespace/default labeled\n");
    let listed = cluster.output("get ns -l istio-injection=enabled -o name").await;
    assert_eq!(listed, "namespace/default\n");
    cluster.output("create configmap c --from-literal=a=1").await;
    cluster.output("patch configmap c -p {\"data\":{\"b\":\"2\"}}").await;
    cluster.output("patch configmap c --type=json -p [{\"op\":\"remove\",\"path\":\"/data/a\"}]").await;
    assert_eq!(cluster.output("get cm c -o jsonpath={.data}").await, r#"{"b":"2"}"#);
    cluster.output("wait --for=jsonpath={.data.b}=2 configmap/c --timeout=5s").await;
    cluster.output("annotate cm c note=x").await;
    cluster.output("delete cm c").await;
    let gone = cluster.kubectl("get cm c").await;
    assert_eq!(gone.err, "Error from server (NotFound): configmaps \"c\" not found\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_as_kubernetes_tells_them() {
    let cluster = Cluster::start().await;
    let cases = [
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{prt: 80, port: 80}]}",
            "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \
             \"spec.ports[0].prt\"",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 0}]}",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: 1s}\nspec: {ports: [{port: 80}]}",
            "The Service \"1s\" is invalid: metadata.name: Invalid value: \"1s\": a DNS-1035 label must consist",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}",
            "The Pod \"p\" is invalid: spec.containers[0].image: Required value",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {matchLabels: {a: b}}, \
             template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}",
            "`selector` does not match template `labels`",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: three}",
            "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: nowhere}",
            "namespaces \"nowhere\" not found",
        ),
        ("apiVersion: v1\nkind: Wizard\nmetadata: {name: w}", "no matches for kind \"Wizard\" in version \"v1\""),
    ];
    for (manifest, expected) in cases {
        let said = cluster.kubectl_with(&["apply", "-f", "-"], manifest).await;
        assert!(!said.ok, "{manifest}");
        assert!(said.err.contains(expected), "expected {expected}\ngot {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_explain_and_version_work() {
    let cluster = Cluster::start().await;
    let resources = cluster.output("api-resources").await;
    let deployments = resources.lines().find(|line| line.starts_with("deployments ")).expect("deployments");
    let words: Vec<&str> = deployments.split_whitespace().collect();
    assert_eq!(words, ["deployments", "deploy", "apps/v1", "true", "Deployment"]);
    let explained = cluster.output("explain deployment.spec.replicas").await;
    assert!(explained.contains("FIELD: replicas <integer>"), "{explained}");
    let explained = cluster.output("explain pod.spec.containers").await;
    assert!(explained.contains("imagePullPolicy"), "{explained}");
    let version = cluster.output("version").await;
    assert!(version.contains("Server Version: v1.33.0"), "{version}");
    assert_eq!(cluster.output("auth can-i delete pods").await, "yes\n");
    let me = cluster.output("auth whoami").await;
    assert!(me.contains("kubernetes-admin"), "{me}");
    assert!(cluster.output("get --raw /readyz").await.contains("ok"));
    let all = cluster.output("get all").await;
    assert!(all.contains("service/kubernetes   ClusterIP   10.96.0.1    <none>        443/TCP"), "{all}");
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: p}}\n\
    spec: {containers: [{name: c, image: hashicorp/http-echo}]}";

#[tokio::test(flavor = "multi_thread")]
async fn pods_get_their_account_and_go_gracefully() {
    let cluster = Cluster::start().await;
    cluster.apply(POD).await;
    let pod = cluster.client.get(&gvr::PODS, "default", "p").await.unwrap();
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(
        pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    let bind = json!({"spec": {"nodeName": "lateen"}});
    cluster.client.patch(&gvr::PODS, "default", "p", PatchType::Merge, &bind, None).await.unwrap();
    let refused = cluster.kubectl("patch pod p -p {\"spec\":{\"nodeName\":\"x\"}}").await;
    assert!(refused.err.contains("pod updates may not change fields other than"), "{}", refused.err);
    let status = json!({"status": {"phase": "Running", "podIP": "10.244.0.5", "containerStatuses": [
        {"name": "c", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {}}}]}});
    cluster.client.patch(&gvr::PODS, "default", "p", PatchType::Strategic, &status, Some("status")).await.unwrap();
    let wide = cluster.output("get pods -o wide").await;
    assert!(wide.contains("p      1/1     Running   0 "), "{wide}");
    assert!(wide.contains("10.244.0.5   lateen   <none>           <none>"), "{wide}");
    cluster.output("delete pod p --wait=false").await;
    let going = cluster.output("get pod p").await;
    assert!(going.contains("Terminating"), "{going}");
    cluster.output("delete pod p --force --grace-period=0").await;
    assert!(!cluster.kubectl("get pod p").await.ok);
    let described = {
        cluster.apply(POD).await;
        cluster.output("describe pod p").await
    };
    assert!(described.contains("Service Account:  default"), "{described}");
}

const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Tags, type: string, jsonPath: .spec.tags}
    schema:
      openAPIV3Schema: &schema
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
              color: {type: string, default: red}
              tags: {type: array, items: {type: string}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - name: v1beta1
    served: true
    storage: false
    schema: {openAPIV3Schema: *schema}
";
const WIDGET: &str =
    "apiVersion: example.com/v1beta1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3, tags: [a, b]}";

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_served_validated_and_gone_with_their_definition() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    cluster.output("wait --for=condition=Established crd/widgets.example.com --timeout=5s").await;
    cluster.apply(WIDGET).await;
    let listed = cluster.output("get wd").await;
    assert!(listed.contains("NAME   SIZE   TAGS\nw      3      [\"a\",\"b\"]"), "{listed}");
    assert_eq!(cluster.output("get widget w -o jsonpath={.apiVersion}/{.spec.color}").await, "example.com/v1/red");
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], &WIDGET.replace('3', "0")).await;
    assert!(
        refused.err.contains("spec.size: Invalid value: 0: spec.size in body should be greater"),
        "{}",
        refused.err
    );
    let unknown = cluster.kubectl_with(&["apply", "-f", "-"], &WIDGET.replace("tags", "tagz")).await;
    assert!(unknown.err.contains("strict decoding error: unknown field \"spec.tagz\""), "{}", unknown.err);
    cluster.output("scale widget w --replicas=5").await;
    assert_eq!(cluster.output("get widget w -o jsonpath={.spec.size}").await, "5");
    let explained = cluster.output("explain widget.spec.size").await;
    assert!(explained.contains("How big it is."), "{explained}");
    cluster.output("delete crd widgets.example.com").await;
    assert!(!cluster.kubectl("get widgets").await.ok);
    cluster.apply(WIDGETS).await;
    assert!(cluster.kubectl("get widgets").await.err.contains("No resources found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_authenticate_their_service_account() {
    let cluster = Cluster::start().await;
    let token = cluster.output("create token default --duration=1h").await;
    let ask = async |token: &str, words: &[&str]| {
        let base = cluster.bearer(token.trim());
        let all: Vec<&str> = base.iter().map(String::as_str).chain(words.iter().copied()).collect();
        cluster.kubectl_with(&all, "").await
    };
    let me = ask(&token, &["auth", "whoami"]).await;
    assert!(me.out.contains("system:serviceaccount:default:default"), "{}{}", me.out, me.err);
    let wrong = ask("a.b.c", &["get", "pods"]).await;
    assert!(wrong.err.contains("Unauthorized") || wrong.err.contains("logged in"), "{}", wrong.err);
    cluster.output("delete serviceaccount default").await;
    let gone = ask(&token, &["get", "pods"]).await;
    assert!(!gone.ok, "{}", gone.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_read_as_people_write_them() {
    let cluster = Cluster::start().await;
    let pod = |requests: &str, limits: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: i, resources: \
             {{requests: {{cpu: {requests}}}, limits: {{cpu: {limits}, memory: 1024Mi}}}}}}]}}"
        )
    };
    let apply = async |manifest: String| {
        cluster
            .kubectl_with(
                &["apply", "-f", "-", "--dry-run=server", "-o", "jsonpath={.spec.containers[0].resources}"],
                &manifest,
            )
            .await
    };
    let said = apply(pod("0.5", "1")).await;
    assert_eq!(
        said.out, r#"{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}}"#,
        "{}",
        said.err
    );
    let said = apply(pod("some", "1")).await.err;
    assert!(said.contains("quantities must match the regular expression"), "{said}");
    let said = apply(pod("-1", "1")).await.err;
    assert!(
        said.contains("resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"),
        "{said}"
    );
    let said = apply(pod("2", "1")).await.err;
    assert!(
        said.contains("resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
        "{said}"
    );
}
