// The landing file of this target; it declares nothing.
//
// KubernetesAPI: objects stay JSON, so that fields nobody of ours knows survive; views are windows onto them.
//
// Core/ Apps/ Networking/ Discovery/ Coordination/ Istio/   views by API group (PodSpec, ServiceSpec, VirtualService, …).
// Meta/        selectors, quantities, IntOrString, the rules of names.
// Schema/      SchemaTable: the fields of every kind, once; SchemaDecoder (strict reading), Defaults.
// Registry/    ResourceKind: what is served under which names.
// Validation/  Validator: what is wrong with an object, with field paths and in Kubernetes' words.
// Patch/       strategic merge, JSON merge and JSON patch.
//
// A new kind: a table in Schema/, a line in Registry/ResourceKind+Standard.swift, its rules in Validation/.
