/// The loop around the mesh: watches objects, acts on them, and tells proxies.
///
/// - `Controllers/` decide: pure functions from objects to changes (deployments, replica sets, endpoint slices).
/// - `Objects/` is the shell of the controllers: a cache fed by watches, a queue of what to look at, events.
/// - `Push/` turns objects into snapshots and sends them to proxies; it knows who acknowledged what.
public enum ControlPlane {}
