use std::net::Ipv4Addr;
use std::str::FromStr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use lateen_apiserver::gvr;
use lateen_local::dns::{self, Sockets, Upstreams};
use lateen_local::services;
use serde_json::json;
use tokio::sync::mpsc;

use crate::world::{World, deployment};

async fn ask(server: std::net::SocketAddr, name: &str) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    let bytes = Upstreams::new([server]).ask(&query.to_vec().unwrap(), false).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_service_has_a_name_and_rules_that_lead_to_its_pods() {
    let world = World::start().await;
    let sockets = Sockets::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let server = sockets.local_addr().unwrap();
    tokio::spawn({
        let client = world.client.clone();
        async move { dns::run(client, "cluster.local", sockets, Upstreams::new([])).await }
    });
    let node = services::Node {
        name: "lateen".to_owned(),
        zone: "local".to_owned(),
        ips: vec![Ipv4Addr::new(10, 244, 0, 1).into()],
        pods: vec![],
        answers: vec![],
    };
    let (applied, mut rulesets) = mpsc::unbounded_channel();
    tokio::spawn(services::run(world.client.clone(), node, move |_, plan| {
        applied.send(plan.ruleset.render()).unwrap();
        Ok(())
    }));
    assert_eq!(ask(server, "web.default.svc.cluster.local.").await.metadata.response_code, ResponseCode::NXDomain);

    world.create(&gvr::DEPLOYMENTS, deployment("web", "v1", 1)).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    let service = world.create(&gvr::SERVICES, service).await;
    let ip: Ipv4Addr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    world.rolled_out("web").await;
    let pod = world.list(&gvr::PODS).await[0]["status"]["podIP"].as_str().unwrap().to_owned();
    loop {
        let rules = rulesets.recv().await.unwrap();
        if rules.contains(&format!("{ip} . tcp . 80 : goto")) && rules.contains(&format!("0 : {pod} . 8080")) {
            break;
        }
    }
    let answer = ask(server, "web.default.svc.cluster.local.").await;
    assert_eq!(answer.answers[0].data, RData::A(ip.into()));
}
