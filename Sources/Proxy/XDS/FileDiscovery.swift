internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream
internal import XDS

/// Resources of one type from a file that holds a `DiscoveryResponse`: read at the start, and whenever a file is moved
/// into its directory.
///
/// Writing the file in place is not seen: a half-written file would be read (Envoy has the same rule).
final class FileDiscovery {
    private static let log = Logger("xds")

    private let source: DiscoverySource.FileSource
    private let typeURL: String
    private let apply: (DeltaClient.Update) -> ResourceApplier.Outcome
    private let failed: (String) -> Void
    private var watch: DirectoryWatch?
    private var interest = DeltaClient.Interest.names([])
    private var names: Set<String> = []
    private var bytes: [UInt8]?

    init(
        _ source: DiscoverySource.FileSource, typeURL: String,
        apply: @escaping (DeltaClient.Update) -> ResourceApplier.Outcome, failed: @escaping (String) -> Void
    ) {
        self.source = source
        self.typeURL = typeURL
        self.apply = apply
        self.failed = failed
    }

    func start(on loop: EventLoop) {
        do throws(SystemError) {
            let watch = try DirectoryWatch(on: loop) { [weak self] _, _ in self?.read(isFresh: false) }
            try watch.add(source.directory)
            self.watch = watch
        } catch {
            failed("\(error)")
        }
    }

    func want(_ interest: DeltaClient.Interest) {
        guard interest != self.interest else { return }
        self.interest = interest
        read(isFresh: true)
    }

    func stop() { watch?.cancel() }

    private func read(isFresh: Bool) {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try File.read(source.path)
        } catch {
            return failed("\(error)")
        }
        // A move of some other file in the directory, or of a link that leads to the same text.
        guard isFresh || bytes != self.bytes else { return }
        self.bytes = bytes
        do throws(ConfigurationError) {
            let response = try Self.decode(bytes, path: source.path, typeURL: typeURL)
            let update: DeltaClient.Update
            do throws(DiscoveryResourceError) {
                update = try StateOfTheWorldClient.update(response, known: names, interest: interest)
            } catch {
                throw ConfigurationError(at: source.path, error.description)
            }
            let outcome = apply(update)
            names.formUnion(outcome.applied)
            names.subtract(update.removed)
        } catch {
            failed("\(error)")
        }
    }

    static func decode(
        _ bytes: [UInt8], path: String, typeURL: String
    ) throws(ConfigurationError) -> DiscoveryResponse {
        do throws(MessageError) {
            var response: DiscoveryResponse
            if path.hasSuffix(".pb") {
                response = try DiscoveryResponse(serialized: bytes)
            } else {
                response = try DiscoveryResponse(json: try BootstrapConfig.parse(bytes, path: path))
            }
            // The resources say what they are; a file may leave the rest out.
            if response.typeUrl.isEmpty { response.typeUrl = typeURL }
            guard response.typeUrl == typeURL else {
                throw MessageError("\(response.typeUrl) instead of \(typeURL)", path: "type_url")
            }
            return response
        } catch {
            throw ConfigurationError(at: path + ": " + error.path, error.problem)
        }
    }
}
