"""Values that the gateway's chart is rendered with: the least, and each thing that can be set."""

from typing import Any

Values = dict[str, Any]

LEAST: Values = {
    "bank": {"environment": "stage", "institutionId": "00016"},
    "credentials": {"existingSecret": "candescent"},
    "callers": {"trustNetwork": True},
}

OPERATOR = tuple(
    f"--api-versions=monitoring.coreos.com/v1/{kind}"
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")
)
"""Say that the cluster has the Prometheus Operator's definitions."""

STORE: Values = {
    "store": {"url": "redis://redis.cache", "existingSecret": "candescent-store"},
}

GATEWAY: dict[str, Values] = {
    "least": {},
    "another bank": {
        "bank": {"environment": "", "baseUrl": "https://api.bank.test:8443/digitalbanking"},
        "port": 8443,
        "admin": {"port": 9999},
        "service": {"type": "LoadBalancer", "port": 8443, "annotations": {"internal": "true"}},
    },
    "created secret": {
        "credentials": {
            "existingSecret": "",
            "create": {"clientId": "an-id", "clientSecret": "a-secret"},
        }
    },
    "files of a vault": {
        "credentials": {
            "existingSecret": "",
            "files": {"clientId": "/vault/id", "clientSecret": "/vault/secret"},
        },
        "extraVolumes": [{"name": "vault", "secret": {"secretName": "vault"}}],
        "extraVolumeMounts": [{"name": "vault", "mountPath": "/vault", "readOnly": True}],
    },
    "password grant": {
        "credentials": {"keys": {"password": "password"}},
        "config": {"username": "juniper"},
    },
    "institutions": {
        "bank": {"allowedInstitutions": ["00021"]},
        "institutions": {"00017": {"existingSecret": "candescent-cu-17"}},
        "config": {"institutions": {"00017": {"scopes": "accounts:read"}}},
    },
    "shared secrets": {
        "callers": {
            "trustNetwork": False,
            "secrets": {"existingSecret": "candescent-callers", "keys": ["current", "next"]},
        }
    },
    "mutual TLS": {
        "callers": {
            "trustNetwork": False,
            "tls": {"existingSecret": "gateway-tls", "clientNames": ["payments.bank.svc"]},
        }
    },
    "TLS and shared secret": {
        "callers": {
            "trustNetwork": False,
            "secrets": {"existingSecret": "candescent-callers"},
            "tls": {"existingSecret": "gateway-tls", "clientCertificates": False},
        }
    },
    "settings of the program": {
        "config": {
            "log": {"level": "debug", "format": "json", "access": "on"},
            "upstream": {"max_connections": 1000000, "connect_timeout": 2.5},
            "routes": [{"path": "/legacy/**", "token": "v1"}],
            "access": {"deny": ["/v1/transfers/**", {"path": "/v1/wires/**", "methods": ["POST"]}]},
            "admin_actions": True,
        },
        "extraEnv": [{"name": "CANDESCENT_LIMITS__MAX_BODY", "value": "1000000"}],
    },
    "autoscaled": {
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 30},
        "podDisruptionBudget": {"minAvailable": "50%", "maxUnavailable": None},
    },
    "nothing around it": {
        "replicas": 1,
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "serviceAccount": {"create": False},
    },
    "ServiceMonitor": {
        "metrics": {"serviceMonitor": {"enabled": True}, "labels": {"release": "prometheus"}},
        "networkPolicy": {"scrapers": [{"namespaceSelector": {}}]},
    },
    "PodMonitor": {
        "metrics": {"podMonitor": {"enabled": True}, "interval": "15s"},
        "networkPolicy": {"scrapers": [{"namespaceSelector": {}}]},
    },
    "a strict network": {
        "networkPolicy": {
            "callers": [{"podSelector": {"matchLabels": {"calls-the-bank": "true"}}}],
            "bank": [{"ipBlock": {"cidr": "203.0.113.0/24"}}],
            "extraEgress": [{"ports": [{"port": 3128}], "to": [{"podSelector": {}}]}],
        }
    },
    "a store": STORE,
    "a store with everything": {
        "store": {
            "url": "rediss+sentinel://redis-0.redis:26380,redis-1.redis/fleet",
            "username": "candescent",
            "existingSecret": "candescent-store",
            "keys": {
                "encryptionKey": "seal",
                "password": "password",
                "sentinelPassword": "sentinel",
                "ca": "ca.crt",
                "certificate": "tls.crt",
                "certificateKey": "tls.key",
            },
        },
        "config": {"store": {"timeout": 1.5, "prefix": "payments"}},
        "networkPolicy": {"store": [{"podSelector": {"matchLabels": {"app": "redis"}}}]},
    },
    "a particular cluster": {
        "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "registry"}]},
        "bind": "[::]",
        "securityContext": {"runAsUser": None, "runAsGroup": None},
        "podSecurityContext": {"fsGroup": None},
        "fullnameOverride": "bank",
        "commonLabels": {"team": "platform"},
        "podLabels": {"sidecar.istio.io/inject": "false"},
        "podAnnotations": {"note": "yes"},
        "priorityClassName": "high",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "terminationGracePeriodSeconds": 60,
        "extraContainers": [
            {
                "name": "tail",
                "image": "tail:1",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}},
            'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}-two"}',
        ],
    },
}

SIDECAR: dict[str, Values] = {
    "least": {},
    "plain": {"native": False},
    "plain for a job": {"native": False, "quit": True, "admin": {"exposed": False}},
    "closed": {"admin": {"exposed": False}, "probes": {"readiness": False}},
    "another port": {"port": 8888, "admin": {"port": 9999}, "scrapeAnnotations": True},
    "institutions": {
        "institutions": {"00017": {"existingSecret": "candescent-cu-17"}},
        "config": {"access": {"mode": "warn"}, "log": {"level": "debug"}},
    },
    "files of a vault": {
        "credentials": {
            "existingSecret": "",
            "files": {"clientId": "/vault/id", "clientSecret": "/vault/secret"},
        },
        "extraVolumes": [{"name": "vault", "secret": {"secretName": "vault"}}],
        "extraVolumeMounts": [{"name": "vault", "mountPath": "/vault", "readOnly": True}],
        "extraEnv": [{"name": "CANDESCENT_LOG__ACCESS", "value": "on"}],
    },
    "a store": STORE,
}
