internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

/// Network policies: what the API says of pods, namespaces and policies, on its way to the kernel.
extension NodeAgent {
    /// Notes what a pod of the cluster is to policies; most changes of a pod are none to them.
    func policySaw(_ object: KubernetesObject, isGone: Bool) {
        let uid = object.metadata.uid
        let pod = isGone ? nil : PolicyPod(object)
        guard policyPods[uid] != pod else { return }
        policyPods[uid] = pod
        policyChanged()
    }

    /// The state of the API, once all of it has been listed; before that a policy may be missing, and nothing is opened.
    func policyObjects() -> PolicyObjects? {
        guard policiesAreKnown else { return nil }
        policyRevision += 1
        var namespaces: [String: [String: String]] = [:]
        for namespace in mirror.all(.namespace) { namespaces[namespace.name] = namespace.metadata.labels }
        return PolicyObjects(
            revision: policyRevision, nodeName: configuration.nodeName, pods: Array(policyPods.values),
            namespaces: namespaces,
            policies: mirror.all(.networkPolicy) + mirror.all(.adminNetworkPolicy)
                + mirror.all(.baselineAdminNetworkPolicy))
    }

    /// Brings the kernel's policy rules up to date, once for many changes that come together.
    func policyChanged() {
        guard policiesAreKnown, !isStopping else { return }
        guard !isEnforcing else {
            mustEnforceAgain = true
            return
        }
        isEnforcing = true
        begin { agent in
            repeat {
                await agent.loop.sleep(for: Self.policyDelay)
                agent.mustEnforceAgain = false
                guard let objects = agent.policyObjects() else { break }
                let network = agent.network
                do throws(WorkloadError) {
                    let problems = try await agent.pool.run { () throws(WorkloadError) in
                        try network.enforce(objects)
                    }
                    for problem in problems where agent.policyProblems.insert(problem).inserted {
                        agent.log.warning("policy not enforced as written", ["problem": problem])
                    }
                    agent.policyProblems.formIntersection(problems)
                } catch {
                    agent.log.error("policy rules not written", ["error": error.message])
                    await agent.loop.sleep(for: .seconds(1))
                    agent.mustEnforceAgain = !agent.isStopping
                }
            } while agent.mustEnforceAgain
            agent.isEnforcing = false
        }
    }

    /// How long further changes are waited for.
    private static let policyDelay = Duration.milliseconds(5)
}
