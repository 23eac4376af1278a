import KubernetesAPI
import Serialization

extension TableColumn {
    /// The columns of a kind: those of Kubernetes for its own, those of the CRDs for Istio's.
    static func columns(of kind: ResourceKind) -> [TableColumn] {
        switch kind {
        case .pod: pods
        case .service: services
        case .deployment: deployments
        case .replicaSet, .replicationController: replicaSets
        case .statefulSet: statefulSets
        case .daemonSet: daemonSets
        case .job: jobs
        case .horizontalPodAutoscaler: autoscalers
        case .controllerRevision:
            [
                name,
                text("Controller") { object in
                    let owner = object.metadata.ownerReferences.first(where: \.isController)
                    return shown(
                        owner.map { owner in
                            let group = owner.apiVersion.split(separator: "/").first.map(String.init) ?? ""
                            return "\(owner.kind.lowercased()).\(group)/\(owner.name)"
                        } ?? "")
                }, number("Revision") { $0.json["revision"]?.int ?? 0 }, age,
            ]
        case .ingress: ingresses
        case .ingressClass:
            [
                name, text("Controller") { $0.spec["controller"]?.string ?? "" }, text("Parameters") { _ in "<none>" },
                age,
            ]
        case .namespace: [name, text("Status") { Namespace(json: $0.json).status.phase }, age]
        case .node: nodes
        case .configMap:
            [
                name,
                number("Data") { ($0.json["data"]?.object?.count ?? 0) + ($0.json["binaryData"]?.object?.count ?? 0) },
                age,
            ]
        case .secret:
            [
                name, text("Type") { Secret(json: $0.json).type },
                number("Data") { $0.json["data"]?.object?.count ?? 0 }, age,
            ]
        case .serviceAccount: [name, number("Secrets") { $0.json["secrets"]?.array?.count ?? 0 }, age]
        case .endpoints: [name, text("Endpoints") { endpointsText(Endpoints(json: $0.json)) }, age]
        case .endpointSlice: endpointSlices
        case .persistentVolumeClaim: claims
        case .persistentVolume: volumes
        case .storageClass: storageClasses
        case .event: events
        case .nodeMetrics, .podMetrics: measured
        case .cronJob: cronJobs
        case .podDisruptionBudget: disruptionBudgets
        case .priorityClass: priorityClasses
        case .resourceQuota: resourceQuotas
        case .limitRange: limitRanges
        case .lease: [name, text("Holder") { $0.spec["holderIdentity"]?.string ?? "" }, age]
        case .role, .clusterRole, .customResourceDefinition: [name, created]
        case .roleBinding, .clusterRoleBinding: bindings
        case .virtualService: [name, list("Gateways", "gateways"), list("Hosts", "hosts"), age]
        case .destinationRule: [name, text("Host") { $0.spec["host"]?.string ?? "" }, age]
        default: [name, age]
        }
    }

    private static let created = TableColumn("Created At", type: "date") { object, _ in
        .string(object.metadata.creationTimestamp)
    }

    private static let bindings: [TableColumn] = [
        name,
        text("Role") { "\($0.json["roleRef"]?["kind"]?.string ?? "")/\($0.json["roleRef"]?["name"]?.string ?? "")" },
        age, text("Users", wide: true) { subjects($0, "User") }, text("Groups", wide: true) { subjects($0, "Group") },
        text("ServiceAccounts", wide: true) { subjects($0, "ServiceAccount") },
    ]

    private static func subjects(_ object: KubernetesObject, _ kind: String) -> String {
        (object.json["subjects"]?.array ?? []).filter { $0["kind"]?.string == kind }.map { subject in
            let name = subject["name"]?.string ?? ""
            return subject["namespace"]?.string.map { "\($0)/\(name)" } ?? name
        }.joined(separator: ", ")
    }

    /// A list as a CRD column prints it: JSON text.
    private static func list(_ name: String, _ field: String) -> TableColumn {
        TableColumn(name) { object, _ in object.spec[field].map { .string($0.text) } ?? .null }
    }

    private static let services: [TableColumn] = [
        name, text("Type") { Service(json: $0.json).spec.type },
        text("Cluster-IP") { shown(Service(json: $0.json).spec.clusterIP) },
        text("External-IP") { externalAddress(Service(json: $0.json)) },
        text("Port(s)") { object in
            shown(
                Service(json: object.json).spec.ports.map { port in
                    "\(port.port)" + (port.nodePort.map { ":\($0)" } ?? "") + "/\(port.protocol)"
                }.joined(separator: ","))
        }, age, text("Selector", wide: true) { labels(Service(json: $0.json).spec.selector) },
    ]

    private static func externalAddress(_ service: Service) -> String {
        let given = service.status.loadBalancer.ingress.compactMap { $0.ip ?? $0.hostname }
        switch service.spec.type {
        case "ExternalName": return shown(service.spec.externalName)
        case "LoadBalancer":
            let all = given + service.spec.externalIPs
            return all.isEmpty ? "<pending>" : all.joined(separator: ",")
        default: return shown(service.spec.externalIPs.joined(separator: ","))
        }
    }

    private static let deployments: [TableColumn] =
        [
            name,
            text("Ready") {
                let deployment = Deployment(json: $0.json)
                return "\(deployment.status.readyReplicas)/\(deployment.spec.replicas)"
            },
            number("Up-to-date") { Deployment(json: $0.json).status.updatedReplicas },
            number("Available") { Deployment(json: $0.json).status.availableReplicas }, age,
        ] + template

    private static let replicaSets: [TableColumn] =
        [
            name, number("Desired") { ReplicaSet(json: $0.json).spec.replicas },
            number("Current") { ReplicaSet(json: $0.json).status.replicas },
            number("Ready") { ReplicaSet(json: $0.json).status.readyReplicas }, age,
        ] + template

    /// The wide columns of what has a pod template.
    static let template: [TableColumn] = [
        text("Containers", wide: true) { containers($0).map(\.name).joined(separator: ",") },
        text("Images", wide: true) { containers($0).map(\.image).joined(separator: ",") },
        text("Selector", wide: true) { selectorText($0.podSelector) },
    ]

    static func containers(_ object: KubernetesObject) -> [Container] {
        DeploymentSpec(json: object.spec).template.spec.containers
    }

    /// A selector as one line: `a=b,c in (d,e)`.
    static func selectorText(_ selector: LabelSelector) -> String {
        let parts = selector.matcher.requirements.map { requirement in
            switch requirement.operator {
            case .in where requirement.values.count == 1: "\(requirement.key)=\(requirement.values.joined())"
            case .in: "\(requirement.key) in (\(requirement.values.sorted().joined(separator: ",")))"
            case .notIn: "\(requirement.key) notin (\(requirement.values.sorted().joined(separator: ",")))"
            case .exists: requirement.key
            case .doesNotExist: "!\(requirement.key)"
            case .greaterThan: "\(requirement.key)>\(requirement.values.joined())"
            case .lessThan: "\(requirement.key)<\(requirement.values.joined())"
            }
        }
        return shown(parts.joined(separator: ","))
    }

    private static let ingresses: [TableColumn] = [
        name, text("Class") { shown(Ingress(json: $0.json).spec.ingressClassName ?? "") },
        text("Hosts") { object in
            let hosts = Ingress(json: object.json).spec.rules.map(\.host).filter { !$0.isEmpty }
            if hosts.isEmpty { return "*" }
            return hosts.count > 3
                ? hosts.prefix(3).joined(separator: ",") + " + \(hosts.count - 3) more..."
                : hosts.joined(separator: ",")
        },
        text("Address") { object in
            Ingress(json: object.json).status.loadBalancer.ingress.compactMap { $0.ip ?? $0.hostname }.joined(
                separator: ",")
        }, text("Ports") { Ingress(json: $0.json).spec.tls.isEmpty ? "80" : "80, 443" }, age,
    ]

    private static let nodes: [TableColumn] = [
        name,
        text("Status") { object in
            let node = Node(json: object.json)
            let isReady = node.status.conditions.first { $0.type == "Ready" }?.status
            let status = isReady.map { $0 == "True" ? "Ready" : "NotReady" } ?? "Unknown"
            return node.spec.unschedulable ? status + ",SchedulingDisabled" : status
        },
        text("Roles") { object in
            let roles = object.metadata.labels.keys.filter { $0.hasPrefix("node-role.kubernetes.io/") }
            return shown(roles.map { String($0.dropFirst(24)) }.sorted().joined(separator: ","))
        }, age, text("Version") { Node(json: $0.json).status.nodeInfo.kubeletVersion },
        text("Internal-IP", wide: true) { address($0, "InternalIP") },
        text("External-IP", wide: true) { address($0, "ExternalIP") },
        text("OS-Image", wide: true) { shown(Node(json: $0.json).status.nodeInfo.osImage) },
        text("Kernel-Version", wide: true) { shown(Node(json: $0.json).status.nodeInfo.kernelVersion) },
        text("Container-Runtime", wide: true) { shown(Node(json: $0.json).status.nodeInfo.containerRuntimeVersion) },
    ]

    private static func address(_ object: KubernetesObject, _ type: String) -> String {
        shown(Node(json: object.json).status.addresses.first { $0.type == type }?.address ?? "")
    }

    private static func endpointsText(_ endpoints: Endpoints) -> String {
        let all = endpoints.subsets.flatMap { subset in
            subset.addresses.flatMap { address in
                subset.ports.isEmpty ? [address.ip] : subset.ports.map { "\(address.ip):\($0.port ?? 0)" }
            }
        }
        return few(all)
    }

    private static func few(_ all: [String]) -> String {
        if all.count > 3 { return all.prefix(3).joined(separator: ",") + " + \(all.count - 3) more..." }
        return shown(all.joined(separator: ","))
    }

    private static let endpointSlices: [TableColumn] = [
        name, text("AddressType") { EndpointSlice(json: $0.json).addressType },
        text("Ports") { object in
            let ports = EndpointSlice(json: object.json).ports
            return ports.isEmpty ? "<unset>" : few(ports.map { $0.port.map(String.init) ?? "*" })
        },
        text("Endpoints") { object in
            let addresses = EndpointSlice(json: object.json).endpoints.flatMap(\.addresses)
            return addresses.isEmpty ? "<unset>" : few(addresses)
        }, age,
    ]

    private static let events: [TableColumn] = [
        TableColumn("Last Seen") { object, now in
            let event = Event(json: object.json)
            return .string(Age.since(event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp, now))
        }, text("Type") { Event(json: $0.json).type }, text("Reason") { Event(json: $0.json).reason },
        text("Object") { object in
            let involved = Event(json: object.json).involvedObject
            return "\(involved.kind.lowercased())/\(involved.name)"
        }, text("Subobject", wide: true) { Event(json: $0.json).involvedObject.fieldPath },
        text("Source", wide: true) {
            $0.json["source"]?["component"]?.string ?? Event(json: $0.json).reportingComponent
        },
        text("Message") { Event(json: $0.json).message },
        TableColumn("First Seen", wide: true) { object, now in
            let event = Event(json: object.json)
            return .string(Age.since(event.firstTimestamp ?? event.eventTime, now))
        },
        TableColumn("Count", type: "integer", wide: true) { object, _ in .integer(Int64(Event(json: object.json).count))
        },
        TableColumn("Name", format: "name", wide: true) { object, _ in .string(object.name) },
    ]
}
