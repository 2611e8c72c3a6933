"""Policies that these tests share."""

from __future__ import annotations

SHOP = """
version = 1
name = "shop"

[networks]
office = ["192.0.2.0/24", "2001:db8:1::/48"]

[[unit]]
id = "web"
context = "ctx-web"
select.address = ["10.0.0.2", "fd00::2"]

[[unit.ingress]]
id = "http"
action = "accept"
from = "@office"
protocol = "tcp"
ports = [80, 443]

[[unit.ingress]]
id = "ping"
action = "accept"
from = "@office"
protocol = ["icmp", "icmpv6"]
icmp = "echo-request"

[[unit.ingress]]
id = "gre"
action = "accept"
from = "@office"
protocol = 47

[[unit.egress]]
id = "dns"
action = "accept"
to = "10.0.0.53"
protocol = "udp"
ports = 53

[[unit.egress]]
id = "api"
action = "accept"
to = "dns:*.example.com"
protocol = "tcp"
ports = 443

[[unit]]
id = "guest"
select.interface = "veth1"

[[unit.egress]]
id = "guest-web"
action = "accept"
to = "any"
protocol = "tcp"
ports = 443

[[peer]]
id = "db"
address = "10.0.1.5"
"""

CLUSTER = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  containers:
  - ports: [{name: http, containerPort: 8080}]
status: {podIPs: [{ip: 10.20.0.10}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: public, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/24]}}]
    ports: [{port: http}]
"""
