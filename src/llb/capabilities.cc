#include "llb/capabilities.h"

#include <algorithm>

namespace varve::llb {

namespace {

constexpr Capability kLlb[] = {
    {"source.image"},
    {"source.image.resolvemode"},
    {"source.image.layerlimit"},
    {"source.image.checksum"},
    {"source.imageblob"},
    {"source.local"},
    {"source.local.unique"},
    {"source.local.sessionid"},
    {"source.local.includepatterns"},
    {"source.local.followpaths"},
    {"source.local.excludepatterns"},
    {"source.local.sharedkeyhint"},
    {"source.local.differ"},
    {"source.local.metadatatransfer", "files of a context are always transferred with their content"},
    {"source.git"},
    {"source.git.keepgitdir"},
    {"source.git.fullurl"},
    {"source.git.httpauth"},
    {"source.git.knownsshhosts"},
    {"source.git.mountsshsock"},
    {"source.git.subdir"},
    {"source.git.checksum"},
    {"source.git.fetchbycommit"},
    {"source.git.skipsubmodules"},
    {"source.git.signatureverify", "signatures of commits are not verified"},
    {"source.git.mtime"},
    {"source.git.bundle"},
    {"source.git.checkoutbundle"},
    {"source.http"},
    {"source.http.auth"},
    {"source.http.checksum"},
    {"source.http.header"},
    {"source.http.perm"},
    {"soruce.http.uidgid"},  // spelled as clients do
    {"source.http.signatureverify", "signatures of downloads are not verified"},
    {"source.ocilayout"},
    {"source.buildop.llbfilename", "nested builds are not supported"},
    {"source.policy"},
    {"source.policy.session"},
    {"exec.meta.base"},
    {"exec.meta.cgroup.parent"},
    {"exec.meta.network"},
    {"exec.meta.network.proxy", "the network is not proxied"},
    {"exec.meta.proxyenv"},
    {"exec.meta.security"},
    {"exec.meta.security.devices.v1"},
    {"exec.meta.setsdefaultpath"},
    {"exec.meta.ulimit"},
    {"exec.meta.linux.resources"},
    {"exec.meta.cdi"},
    {"exec.meta.removemountstubs.recursive"},
    {"exec.mount.bind"},
    {"exec.mount.bind.readwrite-nooutput"},
    {"exec.mount.cache"},
    {"exec.mount.cache.sharing"},
    {"exec.mount.cache.content"},
    {"exec.mount.selector"},
    {"exec.mount.tmpfs"},
    {"exec.mount.tmpfs.size"},
    {"exec.mount.secret"},
    {"exec.mount.ssh"},
    {"exec.cgroup"},
    {"exec.secretenv"},
    {"exec.validexitcode"},
    {"file.base"},
    {"file.rm.wildcard"},
    {"file.rm.nofollowsymlink"},
    {"file.copy.includeexcludepatterns"},
    {"file.copy.alwaysreplaceexistingdestpaths"},
    {"file.copy.modestring"},
    {"file.copy.requiredpaths"},
    {"file.symlink.create"},
    {"mergeop"},
    {"diffop"},
    {"passthroughop"},
    {"constraints"},
    {"platform"},
    {"meta.ignorecache"},
    {"meta.description"},
    {"meta.exportcache"},
    {"cache.gha"},
    {"cache.s3"},
    {"cache.azblob", "Azure Blob Storage is no cache backend"},
    {"exporter.multiple"},
    {"exporter.session"},
    {"exporter.image.annotations"},
    {"exporter.image.attestations"},
    {"exporter.sourcedateepoch"},
    {"gc.freespacefilter"},
    {"history.filter"},
};

constexpr Capability kFrontend[] = {
    {"solve.base"},
    {"solve.inlinereturn"},
    {"resolveimage"},
    {"resolveimage.resolvemode"},
    {"source.metaresolver"},
    {"source.metaresolver.image.attestations"},
    {"source.metaresolver.http.checksumrequest"},
    {"readfile"},
    {"readdir"},
    {"statfile"},
    {"return"},
    {"returnmap"},
    {"importcaches"},
    {"proto.refarray"},
    {"reference.output"},
    {"reference.attestations"},
    {"frontend.inputs"},
    {"frontend.caps"},
    {"gateway.solve.metadata"},
    {"gateway.solve.evaluate"},
    {"gateway.evaluate"},
    {"gateway.exec"},
    {"gateway.exec.extrahosts"},
    {"gateway.exec.signals"},
    {"gateway.exec.secretenv"},
    {"gateway.exec.filesystem"},
    {"gateway.warnings"},
};

}  // namespace

std::span<const Capability> LlbCapabilities() { return kLlb; }
std::span<const Capability> FrontendCapabilities() { return kFrontend; }

Status RequireCapability(std::string_view id) {
  auto found = std::ranges::find(kLlb, id, &Capability::id);
  if (found == std::end(kLlb)) return Invalid("unknown API capability {}", id);
  if (found->enabled()) return Ok();
  return Invalid("requested feature {} is not supported by this builder: {}", id, found->missing);
}

}  // namespace varve::llb
