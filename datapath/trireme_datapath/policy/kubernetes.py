"""Reads the network policies of a Kubernetes cluster as a policy.

Every pod becomes a processing unit, its labels become tags. A pod that no network policy selects
lets everything through in that direction; one that any selects, only what one of its policies
allows. All rules accept, hence their order does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.errors import ConfigError
from trireme_collector.strict_toml import quote, read_text
from trireme_datapath.policy import spellings as spell
from trireme_datapath.policy._kubernetes_objects import NAME_LABEL, Cluster, Pod, read_cluster
from trireme_datapath.policy._kubernetes_rules import (
    ACCEPT_ANY,
    NamedPort,
    PolicyRules,
    RuleForm,
    read_rules,
    selects,
    tags_of,
)
from trireme_datapath.policy._yaml import parse_yaml
from trireme_datapath.policy.model import (
    AddressSet,
    PeerDefinition,
    Policy,
    Prefix,
    Rule,
    RuleAction,
    Unit,
    UnitSelector,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from trireme_datapath.policy._kubernetes_types import PeerSpec, SelectorSpec
    from trireme_datapath.policy._yaml import YamlDocument

__all__ = ["load_kubernetes_policy", "parse_kubernetes_policy"]

_MAX_RULES: Final = 1_000_000
_NOT_ISOLATED: Final = Rule(id="not-isolated", action=RuleAction.ACCEPT, addresses=ACCEPT_ANY)


def load_kubernetes_policy(
    path: str | os.PathLike[str], *, allow_world_writable: bool = False
) -> Policy:
    """Read a YAML file with the objects of a cluster.

    Args:
        path: The file.
        allow_world_writable: Whether to read even a file that every user can change.

    Returns:
        The policy, checked.

    Raises:
        ConfigError: The file cannot be read or has mistakes; all of them are listed.
        MissingExtraError: PyYAML is not installed.
    """
    name, text = read_text(path, refuse_world_writable=not allow_world_writable, form="YAML")
    return parse_kubernetes_policy(text, name)


def parse_kubernetes_policy(text: str, name: str = "<policy>") -> Policy:
    """Read the objects of a cluster from a text.

    Args:
        text: What would stand in the file.
        name: What messages call it.

    Returns:
        The policy, checked.

    Raises:
        ConfigError: The text has mistakes; all of them are listed.
        MissingExtraError: PyYAML is not installed.
    """
    document = parse_yaml(text, name)
    cluster = read_cluster(document)
    _check_namespaces(document, cluster)
    rules = [read_rules(document, policy) for policy in cluster.policies]
    document.raise_problems()
    return _Maker(name, cluster, rules).policy()


class _Maker:
    """Makes a policy of a cluster without mistakes."""

    def __init__(self, name: str, cluster: Cluster, rules: list[PolicyRules]) -> None:
        self._name = name
        self._cluster = cluster
        self._rules = rules
        self._budget = _MAX_RULES
        settings = cluster.settings
        node = tuple(map(spell.parse_prefix, settings.node_addresses))
        self._node = _accept("node", node) if node else None
        # What others call by name: by name, and then by number, the addresses of its pods.
        self._named: dict[NamedPort, dict[int, set[Prefix]]] = {}
        for pod in cluster.pods:
            for key, numbers in pod.ports.items():
                owners = self._named.setdefault(NamedPort(*key), {})
                for number in numbers:
                    owners.setdefault(number, set()).update(pod.addresses)
        self._calling: dict[int, tuple[Rule, ...]] = {}
        self._called: dict[int, tuple[Rule, ...]] = {}

    def policy(self) -> Policy:
        settings = self._cluster.settings
        here = [pod for pod in self._cluster.pods if self._is_here(pod)]
        others = [pod for pod in self._cluster.pods if not self._is_here(pod) and pod.addresses]
        return Policy(
            name=settings.name,
            default=RuleAction.REJECT,
            unmatched=RuleAction(settings.unmatched),
            judge_midstream=settings.midstream == "judge",
            observe_only=settings.observe_only,
            units=tuple(map(self._unit, here)),
            peers=tuple(
                PeerDefinition(
                    id=pod.id,
                    addresses=pod.addresses,
                    namespace=pod.namespace,
                    tags=self._tags(pod),
                )
                for pod in others
            ),
        )

    def _is_here(self, pod: Pod) -> bool:
        node = self._cluster.settings.node
        return not node or pod.node in {"", node}

    def _tags(self, pod: Pod) -> tuple[str, ...]:
        return tags_of(pod, self._cluster.namespaces.get(pod.namespace, {}))

    def _unit(self, pod: Pod) -> Unit:
        mine = [
            rules
            for policy, rules in zip(self._cluster.policies, self._rules, strict=True)
            if policy.namespace == pod.namespace and selects(policy.spec.pod_selector, pod.labels)
        ]
        ingress = [one.ingress for one in mine if one.ingress is not None]
        egress = [one.egress for one in mine if one.egress is not None]
        ports = {NamedPort(*key): numbers for key, numbers in pod.ports.items()}
        return Unit(
            id=pod.id,
            context_id=pod.id,
            namespace=pod.namespace,
            tags=self._tags(pod),
            select=UnitSelector(
                addresses=pod.addresses, interfaces=pod.interfaces, cgroups=pod.cgroups
            ),
            ingress=self._isolated(
                pod, (self._ingress(form, ports) for forms in ingress for form in forms)
            )
            if ingress
            else (_NOT_ISOLATED,),
            egress=self._isolated(pod, (self._egress(form) for forms in egress for form in forms))
            if egress
            else (_NOT_ISOLATED,),
        )

    def _isolated(self, pod: Pod, rules: Iterable[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        made = [rule for some in rules for rule in some]
        if pod.addresses:
            made.append(_accept("itself", pod.addresses))
        if self._node is not None:
            made.append(self._node)
        self._budget -= len(made)
        if self._budget < 0:
            msg = f"{self._name}: more than {_MAX_RULES} rules for all pods: give fewer objects"
            raise ConfigError(msg, problems=(msg,))
        return tuple(made)

    def _ingress(self, form: RuleForm, ports: dict[NamedPort, tuple[int, ...]]) -> tuple[Rule, ...]:
        if form.named:
            return tuple(form.numbered_rules(ports))
        return self._kept(self._called, form, form.numbered_rules({}))

    def _egress(self, form: RuleForm) -> tuple[Rule, ...]:
        return self._kept(self._calling, form, form.calling_rules(self._named))

    @staticmethod
    def _kept(
        memo: dict[int, tuple[Rule, ...]], form: RuleForm, rules: Iterable[Rule]
    ) -> tuple[Rule, ...]:
        """Make the rules of a form once: pods share them."""
        found = memo.get(id(form))
        if found is None:
            found = memo[id(form)] = tuple(rules)
        return found


def _accept(rule_id: str, prefixes: tuple[Prefix, ...]) -> Rule:
    return Rule(id=rule_id, action=RuleAction.ACCEPT, addresses=(AddressSet(prefixes=prefixes),))


def _check_namespaces(document: YamlDocument, cluster: Cluster) -> None:
    """Note pods whose namespace has unknown labels, if a policy asks for some."""
    if not any(map(_asks_for_labels, _peers(cluster))):
        return
    for namespace in dict.fromkeys(pod.namespace for pod in cluster.pods):
        if namespace not in cluster.namespaces:
            pod = next(pod for pod in cluster.pods if pod.namespace == namespace)
            document.add_problem(
                pod.path,
                found=f"the namespace {quote(namespace)}, whose labels a policy asks for",
                expected="its Namespace object in the file, too",
            )


def _peers(cluster: Cluster) -> Iterable[PeerSpec]:
    for policy in cluster.policies:
        for called in policy.spec.ingress:
            yield from called.peers
        for calling in policy.spec.egress:
            yield from calling.peers


def _asks_for_labels(peer: PeerSpec) -> bool:
    selector: SelectorSpec | None = peer.namespace_selector or None
    if selector is None:
        return False
    keys = {*selector.match_labels, *(one.key for one in selector.match_expressions)}
    return not keys <= {NAME_LABEL}
