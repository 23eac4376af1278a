internal import IO
internal import Serialization

/// Images that were imported: layers by digest, unpacked, and one record per name.
///
///     DIR/layers/<sha256>/        an unpacked layer, shared by the images that have it
///     DIR/names/<name>.json       what a name stands for: its layers and its configuration
public struct ImageStore: Sendable {
    let directory: String

    /// The store in that directory, which is made when something is imported.
    public init(directory: String) { self.directory = directory }

    var layers: String { directory + "/layers" }
    var names: String { directory + "/names" }

    /// The image of that name; nil when there is none.
    public func image(named name: String) throws(WorkloadError) -> ContainerImage? {
        for candidate in ImageName.spellings(name) {
            let path = record(candidate)
            guard File.exists(path) else { continue }
            do {
                let json = try JSON.parse(try File.read(path))
                // Records list the base first; overlayfs wants the topmost first.
                let digests = (json["layers"]?.array ?? []).compactMap(\.string)
                let paths = digests.reversed().map { "\(layers)/\($0)" }
                guard !paths.isEmpty, paths.allSatisfy(File.isDirectory) else {
                    throw WorkloadError("ErrImageNeverPull", "image \(name) is damaged in the store; import it again")
                }
                return ContainerImage(root: .layers(paths), config: .init(json["config"] ?? [:]))
            } catch let error as WorkloadError { throw error } catch {
                throw WorkloadError("ErrImageNeverPull", "image \(name): \(path): \(error); import it again")
            }
        }
        return nil
    }

    /// The names that were imported, sorted.
    public func list() -> [String] {
        ((try? File.list(names)) ?? []).compactMap { file in
            (try? File.read("\(names)/\(file)")).flatMap { try? JSON.parse($0) }?["name"]?.string
        }.sorted()
    }

    func record(_ name: String) -> String { "\(names)/\(ImageName.fileName(name)).json" }
}

/// Image references.
enum ImageName {
    /// The ways in which one image may have been named, the most exact first.
    static func spellings(_ name: String) -> [String] {
        var base = name
        for prefix in ["docker.io/library/", "docker.io/", "library/"] where base.hasPrefix(prefix) {
            base = String(base.dropFirst(prefix.count))
        }
        let last = base.split(separator: "/").last ?? ""
        let isTagged = last.contains(":") || base.contains("@")
        return isTagged ? [base] : [base + ":latest"]
    }

    /// The one spelling under which a name is kept.
    static func canonical(_ name: String) -> String { spellings(name)[0] }

    /// A file name: letters, digits, `.`, `-` and `_` stay, everything else is written as `%XX`.
    static func fileName(_ name: String) -> String {
        var result = ""
        for byte in name.utf8 {
            let character = Character(UnicodeScalar(byte))
            if character.isASCII && (character.isLetter || character.isNumber || "-_".contains(character)) || byte == 0x2E && !result.isEmpty {
                result.append(character)
            } else {
                let digits = String(byte, radix: 16)
                result += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return result
    }
}
