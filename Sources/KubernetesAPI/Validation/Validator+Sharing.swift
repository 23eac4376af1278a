import Serialization

extension Validator {
    /// What a new pod asks for that no node here gives: each container has a process namespace of its own.
    ///
    /// Told when the pod is made, not when it is to start; what is there already stays as it is.
    public static func unsharable(_ pod: KubernetesObject) -> [FieldProblem] {
        let hints = [
            (
                "shareProcessNamespace",
                "containers of a pod do not share their processes here: leave it out, or say --share-processes=false "
                    + "where kubectl debug makes a copy"
            ),
            ("hostPID", "containers do not see the machine's processes here"),
            ("hostIPC", "containers do not share the machine's memory segments and queues here"),
        ]
        return hints.compactMap { name, hint in
            pod.spec[name]?.bool == true ? .forbidden("spec.\(name)", hint) : nil
        }
    }
}
