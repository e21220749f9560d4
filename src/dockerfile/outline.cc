#include "dockerfile/outline.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/hex.h"
#include "dockerfile/check_report.h"
#include "dockerfile/text_table.h"

namespace varve::dockerfile {

namespace {

std::string CredentialTable(const char* head, const std::vector<Outline::Credential>& list) {
  if (list.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{head, "REQUIRED"}};
  for (const auto& item : list) rows.push_back({item.name, item.required ? "true" : ""});
  return TextTable(rows, 3) + "\n";
}

Json Credentials(const std::vector<Outline::Credential>& list) {
  Json out = Json::EmptyArray();
  for (const auto& item : list) {
    Json json;
    json.Set("name", item.name).SetIf(item.required, "required", true);
    out.Append(json.Set("location", LocationJson(item.span)));
  }
  return out;
}

}  // namespace

Json ToJson(const Outline& outline, const std::string& source) {
  Json json = Json::EmptyObject();
  json.SetIf(!outline.name.empty(), "name", outline.name);
  json.SetIf(!outline.description.empty(), "description", outline.description);
  Json args = Json::EmptyArray();
  for (const Outline::Arg& arg : outline.args) {
    Json entry;
    entry.Set("name", arg.name).SetIf(!arg.description.empty(), "description", arg.description);
    entry.SetIf(!arg.value.empty(), "value", arg.value);
    args.Append(entry.Set("location", LocationJson(arg.span)));
  }
  json.SetIf(!outline.args.empty(), "args", args);
  json.SetIf(!outline.secrets.empty(), "secrets", Credentials(outline.secrets));
  json.SetIf(!outline.ssh.empty(), "ssh", Credentials(outline.ssh));
  Json caches = Json::EmptyArray();
  for (const auto& cache : outline.caches) {
    caches.Append(Json().Set("ID", cache.id).Set("location", LocationJson(cache.span)));
  }
  json.SetIf(!outline.caches.empty(), "cache", caches);
  return json.Set("sources", Json().Append(Base64Encode(source)));
}

std::string ToText(const Outline& outline) {
  std::string out;
  if (!outline.name.empty() || !outline.description.empty()) {
    std::vector<std::vector<std::string>> rows;
    rows.push_back({"TARGET:", outline.name.empty() ? "(default)" : outline.name});
    if (!outline.description.empty()) rows.push_back({"DESCRIPTION:", outline.description});
    out += TextTable(rows, 1) + "\n";
  }
  if (!outline.args.empty()) {
    std::vector<std::vector<std::string>> rows = {{"BUILD ARG", "VALUE", "DESCRIPTION"}};
    for (const auto& arg : outline.args) rows.push_back({arg.name, arg.value, arg.description});
    out += TextTable(rows, 3) + "\n";
  }
  out += CredentialTable("SECRET", outline.secrets);
  out += CredentialTable("SSH", outline.ssh);
  return out;
}

std::vector<Target> ListTargets(const Dockerfile& file) {
  std::vector<Target> out;
  for (const Stage& stage : file.stages) {
    out.push_back(
        {stage.name, stage.description, stage.base, stage.platform, &stage == &file.stages.back(), stage.origin.span});
  }
  return out;
}

Json ToJson(const std::vector<Target>& targets, const std::string& source) {
  Json list = Json::EmptyArray();
  for (const Target& target : targets) {
    Json json = Json::EmptyObject();
    json.SetIf(!target.name.empty(), "name", target.name);
    json.SetIf(target.is_default, "default", true);
    json.SetIf(!target.description.empty(), "description", target.description);
    json.SetIf(!target.base.empty(), "base", target.base);
    json.SetIf(!target.platform.empty(), "platform", target.platform);
    list.Append(json.Set("location", LocationJson(target.span)));
  }
  return Json().Set("targets", list).Set("sources", Json().Append(Base64Encode(source)));
}

std::string ToText(const std::vector<Target>& targets) {
  std::vector<std::vector<std::string>> rows = {{"TARGET", "DESCRIPTION"}};
  for (const Target& target : targets) {
    std::string name = target.name;
    if (target.is_default) name += name.empty() ? "(default)" : " (default)";
    rows.push_back({name, target.description});
  }
  return TextTable(rows, 1);
}

}  // namespace varve::dockerfile
