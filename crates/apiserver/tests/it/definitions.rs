//! CustomResourceDefinitions as `kubectl` uses them.

use crate::cluster::Cluster;

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wi]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns: [{name: Color, type: string, jsonPath: .spec.color}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What the widget shall be.
            x-kubernetes-validations:
            - {rule: "self.replicas <= self.limit", messageExpression: "'%d is more than %d'.format([self.replicas, self.limit])"}
            - {rule: "self.color == oldSelf.color", message: color is immutable}
            properties:
              color: {type: string, enum: [red, blue], default: red, description: How it looks.}
              replicas: {type: integer, default: 1}
              limit: {type: integer, default: 5}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, number: {type: integer}}}
          status: {type: object, properties: {replicas: {type: integer}}}
  - name: v1beta1
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

fn widget(spec: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {spec}")
}

async fn refused(cluster: &Cluster, manifest: &str) -> String {
    let said = cluster.kubectl_with(&["apply", "-f", "-"], manifest).await;
    assert!(!said.ok, "accepted: {manifest}");
    said.err
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_refuse_what_is_applied() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    let said = refused(&cluster, &widget("{replicas: 7}")).await;
    assert!(said.contains("The Widget \"w\" is invalid: spec: Invalid value: \"object\": 7 is more than 5"), "{said}");
    cluster.apply(&widget("{replicas: 2}")).await;
    let said = refused(&cluster, &widget("{replicas: 2, color: blue}")).await;
    assert!(said.contains("color is immutable"), "{said}");
    let said = refused(&cluster, &widget("{ports: [{name: a}, {name: a}]}")).await;
    assert!(said.contains("spec.ports[1]: Duplicate value"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_have_columns_versions_scale_and_documentation() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    cluster.output("wait --for=condition=Established crd/widgets.example.com --timeout=5s").await;
    cluster.apply(&widget("{}")).await;
    let table = cluster.output("get wi").await;
    assert_eq!(table.split_whitespace().collect::<Vec<_>>(), ["NAME", "COLOR", "w", "red"]);
    assert_eq!(cluster.output("get wi -o name --field-selector spec.color=red").await, "widget.example.com/w\n");
    assert_eq!(cluster.output("get wi -o name --field-selector spec.color=blue").await, "");
    let said = cluster.kubectl("get wi --field-selector spec.limit=5").await;
    assert!(said.err.contains("field label not supported: spec.limit"), "{}", said.err);
    assert_eq!(
        cluster.output("get widgets.v1beta1.example.com w -o jsonpath={.apiVersion}").await,
        "example.com/v1beta1"
    );
    cluster.output("scale wi/w --replicas=4").await;
    assert_eq!(cluster.output("get wi w -o jsonpath={.spec.replicas}").await, "4");
    let said = cluster.kubectl("scale wi/w --replicas=6").await;
    assert!(said.err.contains("6 is more than 5"), "{}", said.err);
    let explained = cluster.output("explain widget.spec.color").await;
    assert!(explained.contains("How it looks."), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_counts_at_once_and_a_deleted_definition_takes_its_objects() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    cluster.apply(&widget("{replicas: 2}")).await;
    cluster.apply(&WIDGETS.replace("enum: [red, blue]", "enum: [red, blue, green], maxLength: 4")).await;
    let said = refused(&cluster, &widget("{color: green}")).await;
    assert!(said.contains("spec.color: Too long: may not be more than 4 bytes"), "{said}");
    // The color was there before the rule was.
    cluster.output("label wi w a=b").await;
    cluster.output("delete crd widgets.example.com").await;
    assert!(!cluster.kubectl("get widgets").await.ok);
    cluster.apply(WIDGETS).await;
    assert_eq!(cluster.output("get widgets -o name").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_belong_to_the_definition_that_had_them_first() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    let second = WIDGETS
        .replace("widgets.example.com", "gadgets.example.com")
        .replace("plural: widgets, kind: Widget", "plural: gadgets, kind: Gadget");
    cluster.apply(&second).await;
    let conditions = "{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{'\\n'}{end}";
    let of = |name: &'static str| {
        let path = format!("jsonpath={conditions}");
        let cluster = &cluster;
        async move { cluster.kubectl_with(&["get", "crd", name, "-o", &path], "").await.out }
    };
    let said = of("gadgets.example.com").await;
    assert!(said.contains("NamesAccepted=False ShortNamesConflict: \"wi\" is already in use"), "{said}");
    assert!(said.contains("Established=False NotAccepted: not all names are accepted"), "{said}");
    assert!(!cluster.kubectl("get gadgets").await.ok, "it is not served");
    cluster.output("delete crd widgets.example.com").await;
    let said = of("gadgets.example.com").await;
    assert!(said.contains("NamesAccepted=True") && said.contains("Established=True"), "{said}");
    assert_eq!(cluster.output("get gadgets -o name").await, "");
    // An established definition stays so; names that it may not have are left out.
    let third = WIDGETS.replace("shortNames: [wi]", "shortNames: [wid]");
    cluster.apply(&third).await;
    cluster.apply(&third.replace("shortNames: [wid]", "shortNames: [wi]")).await;
    let said = of("widgets.example.com").await;
    assert!(said.contains("NamesAccepted=False") && said.contains("Established=True"), "{said}");
    assert!(cluster.kubectl("get wid").await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_waits_for_objects_that_are_held() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    cluster.apply(&widget("{}").replace("name: w", "name: held, finalizers: [example.com/hold]")).await;
    cluster.apply(&widget("{}")).await;
    cluster.output("delete crd widgets.example.com --wait=false").await;
    assert_eq!(cluster.output("get widgets -o name").await, "widget.example.com/held\n");
    let said = cluster
        .output("get crd widgets.example.com -o jsonpath={.metadata.finalizers}{.status.conditions[2].type}")
        .await;
    assert_eq!(said, r#"["customresourcecleanup.apiextensions.k8s.io"]Terminating"#);
    let said = cluster.kubectl_with(&["create", "-f", "-"], &widget("{}").replace("name: w", "name: new")).await;
    assert!(said.err.contains("create not allowed while custom resource definition is terminating"), "{}", said.err);
    let free = ["patch", "widget", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    assert!(cluster.kubectl_with(&free, "").await.ok);
    let said = cluster.kubectl("get crd widgets.example.com").await;
    assert!(said.err.contains("NotFound"), "{}{}", said.out, said.err);
    assert!(!cluster.kubectl("get widgets").await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_show_and_keep_what_they_know() {
    let cluster = Cluster::start().await;
    cluster.apply(WIDGETS).await;
    let beta = "apiVersion: example.com/v1beta1\nkind: Widget\nmetadata: {name: w}\nspec: {color: blue, taste: sweet}";
    cluster.apply(beta).await;
    let v1 = cluster.output("get widgets.v1.example.com w -o jsonpath={.spec}").await;
    assert_eq!(v1, r#"{"color":"blue","limit":5,"replicas":1}"#, "of the stored version, with its defaults");
    let narrow = WIDGETS.replace(
        "{type: object, x-kubernetes-preserve-unknown-fields: true}",
        "{type: object, properties: {spec: {type: object, properties: {color: {type: string}}}}}",
    );
    cluster.apply(&narrow).await;
    let beta = cluster.output("get widgets.v1beta1.example.com w -o jsonpath={.apiVersion}{.spec}").await;
    assert_eq!(beta, r#"example.com/v1beta1{"color":"blue"}"#);
    cluster
        .output("patch widgets.v1beta1.example.com w --type=merge -p {\"metadata\":{\"labels\":{\"a\":\"b\"}}}")
        .await;
    let said = refused(&cluster, &WIDGETS.replace("  scope:", "  conversion: {strategy: Webhook}\n  scope:")).await;
    let expected = "spec.conversion.strategy: Unsupported value: \"Webhook\": supported values: \"None\"";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_cannot_work_are_refused() {
    let cluster = Cluster::start().await;
    let cases = [
        ("self.color == oldSelf.color", "self.colour >", "compilation failed: ERROR: <input>:1:14: Syntax error"),
        ("self.color == oldSelf.color", "colour == 1", "undeclared reference to 'colour'"),
        ("enum: [red, blue]", "uniqueItems: true", "uniqueItems cannot be set to true"),
        ("enum: [red, blue]", "pattern: '('", "must be a valid regular expression"),
        ("default: red", "default: 5", "must be of type string"),
        ("keys: [name]", "keys: [nme]", "entries must all be names of item properties"),
        ("limit: {type: integer", "limit: {type: int", "Unsupported value: \"int\""),
        ("storage: false", "storage: true", "must have exactly one version marked as storage version"),
        (".status.replicas", ".spec.replicas", "should be a json path under .status"),
    ];
    for (from, to, expected) in cases {
        let said = refused(&cluster, &WIDGETS.replacen(from, to, 1)).await;
        assert!(said.contains(expected), "{to}: {said}");
    }
}
