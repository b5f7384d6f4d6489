//! The names that a service is called by.

use lateen_mesh::Cidr;

use crate::resource::Service;
use crate::translate::scope::Scope;

/// Domain of Kubernetes services.
const CLUSTER_SUFFIX: &str = ".svc.cluster.local";

/// All forms of a service's name that a request from this proxy may carry, with its addresses.
pub fn of_service(service: &Service, port: u16, scope: &Scope<'_>) -> Vec<String> {
    let mut hosts = of_host(service.hostname.as_str(), &scope.view.namespace);
    if service.is_headless() {
        // Its pods have names of their own below the Service's.
        hosts.extend(hosts.clone().into_iter().map(|host| format!("*.{host}")));
    }
    let allocated = scope.view.dns_capture && scope.view.dns_auto_allocate;
    let addresses = service.addresses.iter().chain(service.allocated.iter().filter(|_| allocated));
    let single = addresses.filter_map(|a| Cidr::parse(a).ok()).filter(Cidr::is_single);
    hosts.extend(single.map(|c| match c.address() {
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
        v4 => v4.to_string(),
    }));
    with_port(hosts, port)
}

/// All forms of a name, with and without port.
pub fn of_name(name: &str, port: u16, namespace: &str) -> Vec<String> {
    with_port(of_host(name, namespace), port)
}

fn of_host(host: &str, namespace: &str) -> Vec<String> {
    let mut all = vec![host.to_owned()];
    if host.starts_with('*') || host.parse::<std::net::IpAddr>().is_ok() {
        return all;
    }
    all.push(format!("{host}."));
    let Some((name, owner)) = host.strip_suffix(CLUSTER_SUFFIX).and_then(|h| h.rsplit_once('.')) else { return all };
    if owner == namespace {
        all.push(name.to_owned());
    }
    all.push(format!("{name}.{owner}"));
    all.push(format!("{name}.{owner}.svc"));
    all
}

fn with_port(hosts: Vec<String>, port: u16) -> Vec<String> {
    hosts.into_iter().flat_map(|h| if h == "*" { vec![h] } else { vec![format!("{h}:{port}"), h] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_for_the_own_namespace() {
        let own = of_host("web.shop.svc.cluster.local", "shop");
        assert_eq!(
            own,
            ["web.shop.svc.cluster.local", "web.shop.svc.cluster.local.", "web", "web.shop", "web.shop.svc"]
        );
        assert!(!of_host("web.shop.svc.cluster.local", "other").contains(&"web".to_owned()));
        assert_eq!(of_host("*.example.com", "shop"), ["*.example.com"]);
        assert_eq!(of_name("example.com", 80, "shop").len(), 4);
    }
}
