#include "attest/request.h"

#include "base/strings.h"

namespace varve::attest {

namespace {

using Fields = std::map<std::string, std::string>;

Result<Fields> ReadFields(const std::string& text) {
  Fields out;
  TRY_ASSIGN(auto fields, ParseCsvRecord(text));
  for (const std::string& field : fields) {
    size_t equals = field.find('=');
    std::string name = ToLower(TrimSpace(field.substr(0, equals)));
    if (equals == std::string::npos && name != "disabled") {
      return Invalid("invalid attestation \"{}\": \"{}\" is not of the form name=value", text, field);
    }
    out[name] = equals == std::string::npos ? "true" : field.substr(equals + 1);
  }
  return out;
}

Result<bool> TakeBool(Fields& fields, const char* name, bool fallback) {
  auto at = fields.find(name);
  if (at == fields.end()) return fallback;
  auto value = ParseBool(at->second);
  if (!value) return Invalid("invalid value \"{}\" of the attestation's {}: true or false expected", at->second, name);
  fields.erase(at);
  return *value;
}

std::string Take(Fields& fields, const char* name, std::string fallback) {
  auto at = fields.find(name);
  if (at == fields.end()) return fallback;
  std::string value = at->second;
  fields.erase(at);
  return value;
}

Result<ProvenanceRequest> ReadProvenance(Fields fields) {
  ProvenanceRequest out;
  std::string mode = Take(fields, "mode", "max");
  if (mode != "min" && mode != "max" && mode != "full") {
    return Invalid("invalid provenance mode \"{}\": min or max expected", mode);
  }
  out.max = mode != "min";
  std::string version = Take(fields, "version", "v1");
  if (version != "v1" && version != "v0.2") {
    return Invalid("invalid provenance SLSA version \"{}\": v1 or v0.2 expected", version);
  }
  out.v1 = version == "v1";
  out.builder_id = Take(fields, "builder-id", "");
  out.filename = Take(fields, "filename", out.filename);
  if (out.filename.empty() || out.filename.find('/') != std::string::npos || out.filename == "..") {
    return Invalid("the provenance's filename \"{}\" is no name of a file", out.filename);
  }
  TRY_ASSIGN(out.reproducible, TakeBool(fields, "reproducible", false));
  TRY_ASSIGN(out.inline_only, TakeBool(fields, "inline-only", false));
  TRY_ASSIGN(bool usage, TakeBool(fields, "capture-usage", false));
  if (usage) return Invalid("capture-usage is not supported: use of the machine is not part of varve's provenance");
  if (!fields.empty()) {
    Error error = Invalid("unknown parameter \"{}\" of the provenance attestation", fields.begin()->first);
    error.hint = "it may have mode, version, builder-id, filename, reproducible, inline-only";
    return error;
  }
  return out;
}

SbomRequest ReadSbom(Fields fields) {
  SbomRequest out;
  out.generator = Take(fields, "generator", std::string(kDefaultScanner));
  if (out.generator.empty()) out.generator = kDefaultScanner;
  out.parameters = std::move(fields);
  return out;
}

}  // namespace

std::string AttestText(std::string_view type, std::string_view value) {
  std::string out = "type=" + std::string(type);
  if (auto on = ParseBool(std::string(value))) return out + (*on ? "" : ",disabled=true");
  if (value.find('=') != value.npos) return out + "," + std::string(value);
  return out + (type == "provenance" ? ",mode=" : ",generator=") + std::string(value);
}

Result<Request> ParseRequest(const std::vector<std::string>& values,
                             const std::vector<std::pair<std::string, std::string>>& build_args) {
  std::map<std::string, Fields> asked;
  for (const auto& [name, value] : build_args) {
    for (const char* type : {"provenance", "sbom"}) {
      if (name != "BUILDKIT_ATTEST_" + ToUpper(type)) continue;
      TRY_ASSIGN(asked[type], ReadFields(AttestText(type, value.empty() ? "true" : value)));
    }
  }
  for (const std::string& value : values) {
    TRY_ASSIGN(Fields fields, ReadFields(value));
    std::string type = fields["type"];
    if (type != "provenance" && type != "sbom") {
      Error error = Invalid("unknown attestation type \"{}\"", type);
      error.hint = "write type=provenance or type=sbom";
      return error;
    }
    asked[type] = std::move(fields);
  }
  Request request;
  for (auto& [type, fields] : asked) {
    TRY_ASSIGN(bool disabled, TakeBool(fields, "disabled", false));
    fields.erase("type");
    if (disabled) continue;
    if (type == "provenance") {
      TRY_ASSIGN(request.provenance, ReadProvenance(std::move(fields)));
    } else {
      request.sbom = ReadSbom(std::move(fields));
    }
  }
  return request;
}

}  // namespace varve::attest
