// The landing file of this target; it declares nothing.
//
// APIServer: the Kubernetes-compatible API. A request walks: Serving (HTTP, TLS, who calls) → Requests (what is wanted) →
// Objects (the rules) → Store.
//
// Requests/   APIRouter: APIRequest in, APIResponse out, no transport; bodies (JSON, YAML, protobuf, patches), StatusError.
// Objects/    ObjectRegistry: create, modify, delete, list, watch with admission, defaults, validation, service addresses,
//             owners and finalizers, server-side apply, kinds that somebody has defined. Controllers of this process use it directly. WatchStream: one client's watch.
// Tables/     the columns that kubectl prints, content negotiation (ObjectForm).
// Discovery/  /api, /apis, /openapi.
// Access/     who may do what (AccessPolicy: RBAC, pure), the roles that are there from the start, the audit log, Kubeconfig.
// Streaming/  exec, attach and portforward: WebSocket channels and SPDY/3.1 on the client's side, channels on the node agent's.
// Serving/    APIListeners: unix socket (root), TLS (client certificates, tokens); NodeLogs: logs from the node agent.
//
//     let registry = ObjectRegistry(store: try SQLiteStore(path: path), now: clock)
//     try registry.bootstrap()
//     let listeners = APIListeners(APIRouter(registry), on: loop)
//     Task(executorPreference: loop) { await listeners.serve(tls: listener) { context } }
//
// Everything belongs to one event loop; only APIListeners waits.
