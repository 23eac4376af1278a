import Serialization
import TLS

extension JSON {
    /// About how many bytes the text has: a little less where characters must be escaped.
    var approximateBytes: Int {
        switch self {
        case .null, .bool: 4
        case .integer, .number: 8
        case .string(let text): text.utf8.count + 2
        case .array(let elements): elements.reduce(2) { $0 + $1.approximateBytes + 1 }
        case .object(let members): members.reduce(2) { $0 + $1.key.utf8.count + $1.value.approximateBytes + 4 }
        }
    }
}

/// How objects are written down: as JSON text, or sealed when their kind is secret.
///
/// `p{json}` or `s` + key name (4 bytes) + sealed bytes. The place of the object is the context of the seal: a sealed
/// secret that is copied to another name cannot be opened there.
struct ObjectText: Sendable {
    private static let plain = UInt8(ascii: "p")
    private static let sealed = UInt8(ascii: "s")

    /// The key; without one nothing is sealed.
    var key: SecretKey?
    /// The resources that are sealed.
    var secretResources: Set<String> = ["core/secrets"]

    func write(_ object: JSON, at key: StoreKey) throws(StoreError) -> [UInt8] {
        guard let secret = self.key, secretResources.contains(key.resource) else { return [Self.plain] + object.bytes }
        do throws(TLSError) {
            return [Self.sealed] + secret.name + (try secret.cipher.seal(object.bytes, context: context(key)))
        } catch {
            throw .failed(
                path: "", detail: "\(key.resource) \(key.namespace)/\(key.name) cannot be encrypted: \(error)")
        }
    }

    func read(_ bytes: [UInt8], at key: StoreKey) throws(StoreError) -> JSON {
        let place = "\(key.resource) \(key.namespace)/\(key.name)"
        var text = Array(bytes.dropFirst())
        switch bytes.first {
        case Self.plain: break
        case Self.sealed:
            guard let secret = self.key else {
                throw .failed(path: "", detail: "\(place) is encrypted, and there is no key file: put it back")
            }
            guard text.starts(with: secret.name) else {
                throw .failed(
                    path: "",
                    detail: "\(place) is encrypted with another key than \(secret.path): put the right file there")
            }
            do throws(TLSError) {
                text = try secret.cipher.open(Array(text.dropFirst(secret.name.count)), context: context(key))
            } catch {
                throw .corrupted(path: "", detail: "\(place): \(error)")
            }
        default: throw .corrupted(path: "", detail: "\(place) has no known form")
        }
        do throws(JSONError) { return try JSON.parse(text) } catch {
            throw .corrupted(path: "", detail: "the text of \(place) cannot be read: \(error)")
        }
    }

    // MARK: What is no object

    /// Seals what belongs to all servers; nil without a key.
    func seal(_ bytes: [UInt8], as name: String) throws(StoreError) -> [UInt8]? {
        guard let key else { return nil }
        do throws(TLSError) {
            return key.name + (try key.cipher.seal(bytes, context: Self.commonContext(name)))
        } catch { throw .failed(path: "", detail: "\(name) cannot be encrypted: \(error)") }
    }

    /// Opens what `seal` made, under the same name only.
    func open(_ bytes: [UInt8], as name: String) throws(StoreError) -> [UInt8] {
        guard let key else { throw .failed(path: "", detail: "\(name) is encrypted, and there is no key file") }
        guard bytes.starts(with: key.name) else {
            throw .failed(path: "", detail: "\(name) is encrypted with another key than \(key.path)")
        }
        do throws(TLSError) {
            return try key.cipher.open(Array(bytes.dropFirst(key.name.count)), context: Self.commonContext(name))
        } catch { throw .corrupted(path: "", detail: "\(name): \(error)") }
    }

    // The resources of objects have no such name.
    private static func commonContext(_ name: String) -> [UInt8] { Array("//common/\(name)".utf8) }

    private func context(_ key: StoreKey) -> [UInt8] { Array("\(key.resource)/\(key.namespace)/\(key.name)".utf8) }
}
