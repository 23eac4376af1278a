internal import IO
internal import Store
internal import Telemetry

/// Opens the store at the start of a control plane.
enum StoreOpening {
    /// How long a store outside may be out of reach before the start is given up.
    static let patience = Duration.seconds(60)

    /// Opens the store; one that cannot be reached yet is tried again.
    static func open(
        _ settings: StoreSettings, directory: String, on loop: EventLoop
    ) async throws(ControlPlaneError) -> ReplicaStore {
        let deadline = loop.now + patience
        while true {
            do throws(StoreError) {
                return try await settings.open(directory: directory, on: loop, seconds: WallClock.now.seconds)
            } catch {
                guard case .unavailable = error, loop.now < deadline else { throw ControlPlaneError("\(error)") }
                Logger("control-plane").warning("waiting for the store", ["reason": "\(error)"])
                await loop.sleep(for: .seconds(1))
            }
        }
    }
}
