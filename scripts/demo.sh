#!/usr/bin/env bash
# The mini mesh in two minutes: start it, ask its services, look at the identities, split traffic, open it to the outside.
set -euo pipefail
source "$(dirname "$0")/env.sh"
cd "$root"
home=${LATEEN_HOME:-$HOME/.lateen}

bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true)
[ -t 1 ] || bold='' plain=''
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
k() { kubectl --kubeconfig "$home/kubeconfig" "$@"; }
show() { printf '$ kubectl %s\n' "$*"; k "$@"; }
from_curl() { k exec deploy/curl -c curl -- "$@"; }

title "1. Start the mesh: API server, control plane, DNS, Services"
"$LATEEN" up --detach

title "2. Deploy the mini mesh with injection on"
show label namespace default istio-injection=enabled --overwrite
show apply -f samples/mini-mesh/
k wait --for=condition=Available deployment --all --timeout=120s >/dev/null
show get pods -o wide

title "3. Ask each service from the client pod"
for service in frontend backend db; do
  printf 'curl http://%s/  ->  ' "$service"
  from_curl curl -s --retry 5 "http://$service/"
done

title "4. It travelled over mutual TLS: the identities of both ends, as db's sidecar counted them"
k exec deploy/db -c istio-proxy -- curl -s http://127.0.0.1:15020/stats/prometheus |
  grep '^istio_requests_total{.*reporter="destination"' | head -n 1 |
  grep -oE '(source_principal|destination_principal|connection_security_policy|response_code)="[^"]*"' | sed 's/^/    /'

title "5. backend is split 90/10 between v1 and v2 by a VirtualService: 200 requests"
from_curl sh -c 'for i in $(seq 200); do curl -s http://backend/; done' | sort | uniq -c

title "6. The frontend from outside, through the ingress gateway"
show apply -f samples/gateway/any-host.yaml
k rollout status -n istio-system deploy/istio-ingressgateway --timeout=120s >/dev/null
ingress() { k get service -n istio-system istio-ingressgateway -o jsonpath="$1"; }
url=http://127.0.0.1/
# Port 80 is for root, and one program at a time; the Service's own port is there in any case.
if [ -n "$(ingress '{.status.loadBalancer.ingress[0].ports[?(@.port==80)].error}')" ]; then
  url=http://127.0.0.1:$(ingress '{.spec.ports[?(@.name=="http2")].nodePort}')/
fi
printf 'curl %s  ->  ' "$url"
curl -s --retry 20 --retry-delay 1 --retry-all-errors -f "$url"

cat <<TRY

${bold}The mesh keeps running: open $url in a browser. Try next:${plain}
    export KUBECONFIG=$home/kubeconfig
    kubectl get pods -A
    kubectl exec deploy/curl -c curl -- curl -si http://backend/
    kubectl logs deploy/backend-v1 -c istio-proxy
    kubectl edit virtualservice backend          # change the weights, ask again
    kubectl get virtualservices,destinationrules
    $LATEEN proxy-status
    $LATEEN proxy-config routes deploy/curl
    $LATEEN down                                  # stop it; --purge forgets it
TRY
