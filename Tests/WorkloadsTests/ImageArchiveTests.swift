import IO
import Testing

@testable import Workloads

/// The archive forms that tools write, made here by python's standard library.
@Suite struct ImageArchiveTests {
    private func folder() throws -> String {
        let path = "/tmp/skein-archives-\(Environment.processID)-\(UInt32.random(in: 0...(.max)))"
        try File.makeDirectory(path)
        return path
    }

    /// Writes `image.tar` in one of the forms: one gzipped layer with the file /hello, `Cmd` and `Env` set.
    private static let script = """
        import gzip, hashlib, io, json, sys, tarfile
        form = sys.argv[1]
        def tar(entries):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as archive:
                for name, data in entries:
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
            return out.getvalue()
        digest = lambda data: hashlib.sha256(data).hexdigest()
        layer = tar([("hello", b"hi")])
        diff = digest(layer) if form != "wrong" else "0" * 64
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"], "Env": ["A=1"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff]}}).encode()
        packed = gzip.compress(layer)
        if form in ("docker", "wrong"):
            files = [("c.json", config), ("l/layer.tar", layer), ("manifest.json", json.dumps(
                [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]).encode())]
        else:
            manifest = json.dumps({"config": {"digest": "sha256:" + digest(config)},
                "layers": [{"digest": "sha256:" + digest(packed)}]}).encode()
            listed = [{"digest": "sha256:" + digest(manifest), "platform": {"os": "linux", "architecture": "amd64"}},
                {"digest": "sha256:" + "1" * 64, "platform": {"os": "linux", "architecture": "riscv64"}}]
            files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", json.dumps({"manifests": listed}).encode())]
            files += [("blobs/sha256/" + digest(blob), blob) for blob in (manifest, config, packed)]
        data = tar(files)
        open("image.tar", "wb").write(gzip.compress(data) if form == "oci-gz" else data)
        """

    private func make(_ form: String, in folder: String) throws {
        var command = Child.Command(["/usr/bin/python3", "-c", Self.script, form])
        command.workingDirectory = folder
        try #require(try Child(command).wait().isSuccess)
    }

    @Test("docker save archives and OCI layouts give layers and configuration", arguments: ["docker", "oci", "oci-gz"])
    func forms(form: String) throws {
        let folder = try folder()
        defer { try? File.removeTree(folder) }
        try make(form, in: folder)
        let store = ImageStore(directory: folder + "/store")
        let image = try store.importArchive(name: "x:1", file: folder + "/image.tar", imported: "now").image
        guard case .layers(let layers) = image.root else {
            Issue.record("no layers")
            return
        }
        #expect(layers.count == 1)
        #expect(try File.text(try #require(layers.first) + "/hello") == "hi")
        #expect(image.config.command == ["/hello"])
        #expect(image.config.environment == ["A=1"])
    }

    @Test("a layer with another content than the image says is refused, and the earlier image stays")
    func wrongDigest() throws {
        let folder = try folder()
        defer { try? File.removeTree(folder) }
        let store = ImageStore(directory: folder + "/store")
        try make("docker", in: folder)
        let good = try store.importArchive(name: "x:1", file: folder + "/image.tar", imported: "now")
        try make("wrong", in: folder)
        let error = #expect(throws: WorkloadError.self) {
            try store.importArchive(name: "x:1", file: folder + "/image.tar", imported: "now")
        }
        #expect(error?.message.contains("digest") == true)
        #expect(try store.image(named: "x:1") == good.image)
    }
}
