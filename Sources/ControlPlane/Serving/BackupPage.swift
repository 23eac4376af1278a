internal import HTTP
internal import IO
internal import Serialization
internal import Store
internal import Telemetry

/// `GET /skein/v1/backup`: the whole control plane as one file, for administrators; what `skein backup` fetches.
///
/// `@unchecked Sendable`: used on one loop.
final class BackupPage: @unchecked Sendable {
    static let path = "/skein/v1/backup"
    /// Bytes that are read from the copy at once.
    private static let pieceBytes = 1 << 20

    private let store: ReplicaStore
    private let directory: String
    private var copies = 0

    init(_ store: ReplicaStore, directory: String) {
        self.store = store
        self.directory = directory
    }

    func answer() async -> HTTPResponse {
        guard let store = store as? SQLiteStore else {
            return failure(
                501, "objects are kept in etcd: back that up with etcdctl snapshot save, and keep \(directory)")
        }
        copies += 1
        let copy = "\(directory)/\(SQLiteBackup.databaseName).backup-\(copies)"
        do throws(StoreError) {
            // Of an earlier process that was killed in the midst.
            if File.exists(copy) { try? File.remove(copy) }
            try await SQLiteBackup.write(store, directory: directory, to: copy)
        } catch {
            try? File.remove(copy)
            return failure(error.isDiskFull ? 507 : 500, error.description)
        }
        return .stream(contentType: "application/vnd.sqlite3") { writer throws(HTTPError) in
            defer { try? File.remove(copy) }
            var offset = 0
            while true {
                let piece: [UInt8]
                do throws(SystemError) { piece = try File.read(copy, from: offset, count: Self.pieceBytes) } catch {
                    // The client sees a body that ends early.
                    Logger("store").error("a backup was cut short", ["error": "\(error)"])
                    throw .connection(error)
                }
                guard !piece.isEmpty else { return }
                offset += piece.count
                try await writer.write(piece)
            }
        }
    }

    private func failure(_ status: Int, _ message: String) -> HTTPResponse {
        HTTPResponse(
            status: UInt16(status), contentType: "application/json",
            body: JSON.object(["message": .string(message), "code": .integer(Int64(status))]).bytes)
    }
}

extension StoreError {
    fileprivate var isDiskFull: Bool { if case .diskFull = self { true } else { false } }
}
