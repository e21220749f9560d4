#include "daemon/result_attestations.h"

#include <algorithm>

#include "daemon/ref_files.h"

namespace varve::daemon {

namespace {

namespace gateway = moby::buildkit::v1::frontend;

constexpr char kInlineOnly[] = "inline-only";
constexpr char kSbomCore[] = "sbom-core";

Result<Json> ReadJson(RefFiles& files, const std::string& path) {
  TRY_ASSIGN(auto stat, files.Stat(path));
  if (stat.size() > static_cast<int64_t>(attest::kMaxPredicate)) {
    return Invalid("the attestation {} has {} bytes, more than {} are not read", path, stat.size(),
                   attest::kMaxPredicate);
  }
  std::string text;
  while (static_cast<int64_t>(text.size()) < stat.size()) {  // a read gives what fits into a message
    TRY_ASSIGN(std::string part, files.Read(path, static_cast<int64_t>(text.size()), 0));
    if (part.empty()) break;
    text += part;
  }
  if (text.empty()) return Json();  // its subjects say it all
  auto json = Json::Parse(text);
  if (!json) return Error(std::move(json).error()).With("the attestation " + path);
  return json;
}

Result<attest::Attestation> ReadStatement(RefFiles& files, const std::string& path, const std::string& name,
                                          const std::string& expected) {
  TRY_ASSIGN(Json statement, ReadJson(files, path));
  const std::string type = statement.GetString("predicateType");
  const Json* predicate = statement.Find("predicate");
  if (type.empty() || predicate == nullptr) return Invalid("the attestation {} is no in-toto statement", path);
  if (!expected.empty() && type != expected) {
    return Invalid("the attestation {} is of the type {}, not {}", path, type, expected);
  }
  attest::Attestation made{.predicate_type = type, .predicate = *predicate, .file = name};
  if (const Json* subjects = statement.Find("subject"); subjects != nullptr && subjects->is_array()) {
    made.subjects = *subjects;
  }
  return made;
}

// Null where it is the result itself.
Result<Json> Subjects(const gateway::Attestation& attestation) {
  Json subjects = Json::EmptyArray();
  for (const gateway::InTotoSubject& subject : attestation.in_toto_subjects()) {
    if (subject.kind() == gateway::Self) return Json();
    Json digests = Json::EmptyObject();
    for (const std::string& digest : subject.digest()) {
      const size_t colon = digest.find(':');
      if (colon == digest.npos)
        return Invalid("the subject {} of an attestation has no digest but {}", subject.name(), digest);
      digests.Set(digest.substr(0, colon), digest.substr(colon + 1));
    }
    subjects.Append(Json().Set("name", subject.name()).Set("digest", std::move(digests)));
  }
  return subjects;
}

}  // namespace

bool HasSbom(const gateway::Attestations& attestations) {
  return std::ranges::any_of(attestations.attestation(), [](const gateway::Attestation& attestation) {
    const std::string& type = attestation.in_toto_predicate_type();
    return type == attest::kSpdx || (attestation.kind() == gateway::Bundle && type.empty());
  });
}

Result<std::vector<attest::Attestation>> ReadAttestations(const gateway::Attestation& attestation,
                                                          const cache::Rootfs& rootfs, job::Workspace& workspace) {
  TRY_ASSIGN(RefFiles files, RefFiles::Open(rootfs.layers, workspace));
  std::vector<attest::Attestation> made;
  if (attestation.kind() == gateway::Bundle) {
    const std::string directory = attestation.path().empty() ? "/" : attestation.path();
    TRY_ASSIGN(auto entries, files.List(directory, ""));
    for (const auto& entry : entries) {
      TRY_ASSIGN(auto one, ReadStatement(files, directory + "/" + entry.path(), entry.path(),
                                         attestation.in_toto_predicate_type()));
      made.push_back(std::move(one));
    }
  } else {
    const std::string& path = attestation.path();
    attest::Attestation one{.predicate_type = attestation.in_toto_predicate_type(),
                            .predicate = {},
                            .file = path.substr(path.rfind('/') + 1)};
    TRY_ASSIGN(one.predicate, ReadJson(files, path));
    TRY_ASSIGN(one.subjects, Subjects(attestation));
    made.push_back(std::move(one));
  }
  auto only = attestation.metadata().find(kInlineOnly);
  auto core = attestation.metadata().find(kSbomCore);
  for (attest::Attestation& one : made) {
    one.inline_only = only != attestation.metadata().end() && only->second == "true";
    if (core != attestation.metadata().end()) one.core = core->second;
  }
  return made;
}

}  // namespace varve::daemon
