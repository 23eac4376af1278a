internal import IO
internal import TLS

/// The key that Secrets are encrypted with at rest: 32 random bytes in a file of its own, mode 0600.
public struct SecretKey: Sendable {
    /// Bytes of a key's name in what it sealed.
    static let nameBytes = 4

    let cipher: AESGCM
    /// Tells keys apart, and nothing about the key.
    let name: [UInt8]
    /// The name for people.
    var shownName: String { name.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
    /// Where it was read from.
    public let path: String

    private init(_ bytes: [UInt8], path: String) throws(StoreError) {
        do throws(TLSError) { cipher = try AESGCM(key: bytes) } catch {
            throw .failed(path: path, detail: "is no key: \(error.reason)")
        }
        name = Array(SHA256.hash(Array("skein secret key name".utf8) + bytes).prefix(Self.nameBytes))
        self.path = path
    }

    /// Reads the key; a file that others can read is refused.
    public static func load(_ path: String) throws(StoreError) -> SecretKey {
        let mode: UInt32
        let bytes: [UInt8]
        do throws(SystemError) {
            mode = try File.mode(path)
            bytes = try File.read(path, limit: 4096)
        } catch {
            throw .failed(path: path, detail: "the key cannot be read: \(error)")
        }
        guard mode & 0o077 == 0 else {
            throw .failed(
                path: path, detail: "others can read this key (mode \(String(mode & 0o777, radix: 8))): chmod 600 it")
        }
        return try SecretKey(bytes, path: path)
    }

    /// Makes a key and writes it down before it is used.
    public static func make(_ path: String) throws(StoreError) -> SecretKey {
        let bytes: [UInt8]
        do {
            bytes = try AESGCM.makeKey()
            try File.write(path, bytes, mode: 0o600)
        } catch {
            throw .failed(path: path, detail: "no key can be made: \(error)")
        }
        return try SecretKey(bytes, path: path)
    }

    /// The key of a store: the file's, or a new one when nothing can have been encrypted yet.
    public static func key(at path: String, isNewStore: Bool) throws(StoreError) -> SecretKey {
        if File.exists(path) { return try load(path) }
        guard isNewStore else {
            throw .failed(
                path: path,
                detail: "the key of the encrypted Secrets is missing; put the file back, or restore a backup")
        }
        return try make(path)
    }
}
