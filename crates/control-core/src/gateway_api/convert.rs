//! All objects together.

use lateen_api::gateway_api as api;

use super::attach::{Attachment, Places, Route, RouteKind};
use super::backend::World;
use super::gateway::{self, Gateway};
use super::merge::Merged;
use super::route::Problems;
use super::status::Status;
use super::stream::Stream;
use super::{Cluster, Converted, Granted, Objects, Problem, age, class, deployment, http, policy, route};
use crate::resource::{Key, Kind, Meta, Object};

/// Converts all objects.
pub fn convert(objects: &Objects<'_>, cluster: &dyn Cluster) -> Converted {
    let mut made = Converted::default();
    made.statuses.extend(class::statuses(objects));
    let (mut gateways, refused) = gateway::gateways(objects, cluster);
    made.statuses.extend(refused);
    let places = Places::new(&gateways);
    let mut all = Routes {
        world: World { objects, cluster, needs_grants: true },
        gateways: &mut gateways,
        places: &places,
        made: &mut made,
    };
    all.http();
    all.streams();
    policy::convert(objects, cluster, &gateways, &mut made);
    made.deployments = deployment::deployments(&gateways);
    publish(&gateways, objects, cluster, &mut made);
    made
}

/// Puts in what listeners become, and the statuses of those that have them.
fn publish(gateways: &[Gateway<'_>], objects: &Objects<'_>, cluster: &dyn Cluster, made: &mut Converted) {
    for gateway in gateways {
        let namespace = &gateway.object.meta.namespace;
        for listener in gateway.all_listeners() {
            made.gateways.extend(listener.made.clone());
            made.granted.extend(listener.secrets.iter().map(|secret| Granted {
                secret: secret.clone(),
                namespace: namespace.clone(),
                account: gateway.account.clone(),
            }));
        }
        made.statuses.extend([gateway.status(objects, cluster)]);
        made.statuses.extend(gateway.sets.iter().map(|set| set.status(gateway, cluster)));
    }
}

struct Routes<'r, 'o> {
    world: World<'r>,
    gateways: &'r mut [Gateway<'o>],
    places: &'r Places,
    made: &'r mut Converted,
}

/// A route of HTTP of either kind.
enum Http<'a> {
    Http(&'a Object<api::HttpRoute>),
    Grpc(&'a Object<api::GrpcRoute>),
}

impl Http<'_> {
    fn kind(&self) -> RouteKind {
        match self {
            Self::Http(_) => RouteKind::Http,
            Self::Grpc(_) => RouteKind::Grpc,
        }
    }

    fn hostnames(&self) -> &[String] {
        match self {
            Self::Http(route) => &route.spec.hostnames,
            Self::Grpc(route) => &route.spec.hostnames,
        }
    }

    fn rules(&self, world: World<'_>) -> http::Rules {
        let Meta { namespace, name, .. } = self.meta();
        match self {
            Self::Http(route) => http::http_rules(&route.spec, namespace, name, world),
            Self::Grpc(route) => http::grpc_rules(&route.spec, namespace, name, world),
        }
    }

    fn meta(&self) -> &Meta {
        match self {
            Self::Http(route) => &route.meta,
            Self::Grpc(route) => &route.meta,
        }
    }
}

impl Routes<'_, '_> {
    fn http(&mut self) {
        let objects = self.world.objects;
        let http = objects.http_routes.iter().map(|route| Http::Http(route));
        let mut all: Vec<Http<'_>> = http.chain(objects.grpc_routes.iter().map(|route| Http::Grpc(route))).collect();
        // Of equal rules that of the older route counts.
        all.sort_by(|one, other| age(one.meta()).cmp(&age(other.meta())));
        let mut merged = Merged::default();
        for route in all {
            let (key, generation, parents) = match &route {
                Http::Http(object) => (Kind::HttpRoute, object.generation, &*object.spec.parent_refs),
                Http::Grpc(object) => (Kind::GrpcRoute, object.generation, &*object.spec.parent_refs),
            };
            let (meta, hostnames) = (route.meta(), route.hostnames());
            let bound = Route { kind: route.kind(), namespace: &meta.namespace, hostnames, parents };
            let problems =
                self.add(&bound, Key::new(key, &meta.namespace, &meta.name), generation, |part, world, _| {
                    let rules = route.rules(world);
                    merged.add(route.kind().name(), meta, hostnames, &rules.all, part);
                    rules.problem
                });
            self.made.statuses.extend([problems]);
        }
        self.made.virtual_services.extend(merged.finish());
    }

    /// Attaches a route and converts it, for listeners and for the mesh; returns its status.
    fn add(
        &mut self,
        route: &Route<'_>,
        key: Key,
        generation: i64,
        mut convert: impl FnMut(&[Attachment], World<'_>, &mut Converted) -> Option<Problem>,
    ) -> (Key, Status) {
        let all = route::attach(route, self.gateways, self.places, self.world.cluster);
        let (mesh, listeners): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|part| part.target.is_mesh());
        let mut problems = Problems::default();
        if !listeners.is_empty() {
            problems.at_listeners = convert(&listeners, self.world, self.made);
        }
        if !mesh.is_empty() {
            problems.in_mesh = convert(&mesh, World { needs_grants: false, ..self.world }, self.made);
        }
        (key, route::status(&all, route.namespace, generation, &problems))
    }

    fn streams(&mut self) {
        for object in &self.world.objects.tls_routes {
            let (meta, spec) = (&object.meta, &object.spec);
            let stream = Stream { kind: RouteKind::Tls, meta, hostnames: &spec.hostnames, rules: first(&spec.rules) };
            self.add_stream(&stream, Kind::TlsRoute, &spec.parent_refs, object.generation);
        }
        for object in &self.world.objects.tcp_routes {
            let (meta, spec) = (&object.meta, &object.spec);
            let stream = Stream { kind: RouteKind::Tcp, meta, hostnames: &[], rules: first(&spec.rules) };
            self.add_stream(&stream, Kind::TcpRoute, &spec.parent_refs, object.generation);
        }
    }

    fn add_stream(&mut self, stream: &Stream<'_>, key: Kind, parents: &[api::ParentRef], generation: i64) {
        let Stream { kind, meta, hostnames, .. } = *stream;
        let bound = Route { kind, namespace: &meta.namespace, hostnames, parents };
        let key = Key::new(key, &meta.namespace, &meta.name);
        let status = self.add(&bound, key, generation, |part, world, made| stream.convert(part, world, made));
        self.made.statuses.extend([status]);
    }
}

/// Connections have no conditions, so that the first rule is for all.
fn first(rules: &[api::StreamRouteRule]) -> &[api::StreamRouteRule] {
    &rules[..rules.len().min(1)]
}
