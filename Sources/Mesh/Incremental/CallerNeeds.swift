import KubernetesAPI

/// What a rule or policy asks of callers: the labels that it compares, whether it matters where they are.
struct CallerNeeds: Sendable, Hashable {
    /// The names of the labels.
    var labels: Set<String> = []
    /// Whether the locality matters.
    var place = false
    /// Whether the node matters.
    var node = false

    /// Of a rule.
    init(_ rule: MeshModel.Rule) {
        for match in rule.http.flatMap(\.match) { labels.formUnion(match.sourceLabels.keys) }
        for match in rule.tcp.flatMap(\.match) { labels.formUnion(match.sourceLabels.keys) }
    }

    /// Of a policy.
    init(_ policy: MeshModel.Policy) {
        labels.formUnion(policy.rule.workloadSelector.keys)
        labels.formUnion(policy.failoverLabels)
        place = policy.dependsOnCaller
        node = policy.failoverLabels.contains("kubernetes.io/hostname")
    }

    /// How many ask for each thing, so that one that goes is taken off without a look at the others.
    struct Sum: Sendable {
        private var counts: [String: Int] = [:]
        private var places = 0
        private var nodes = 0

        /// The names of the labels that somebody asks for.
        var labels: Set<String> { Set(counts.keys) }
        /// Whether somebody asks for the locality.
        var place: Bool { places > 0 }
        /// Whether somebody asks for the node.
        var node: Bool { nodes > 0 }

        /// Somebody has come.
        mutating func add(_ needs: CallerNeeds) { count(needs, 1) }
        /// Somebody has gone.
        mutating func remove(_ needs: CallerNeeds) { count(needs, -1) }

        private mutating func count(_ needs: CallerNeeds, _ one: Int) {
            for label in needs.labels {
                let now = counts[label, default: 0] + one
                counts[label] = now > 0 ? now : nil
            }
            if needs.place { places += one }
            if needs.node { nodes += one }
        }
    }
}
