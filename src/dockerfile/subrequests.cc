#include "dockerfile/subrequests.h"

#include <vector>

#include "dockerfile/text_table.h"

namespace varve::dockerfile {
namespace {

constexpr Subrequest kSubrequests[] = {
    {.name = "outline", .description = "List all parameters current build target supports", .has_target = true},
    {.name = "targets", .description = "List all targets current build supports"},
    {.name = "lint", .description = "Lint a Dockerfile", .has_status_code = true},
    {.name = "subrequests.describe", .description = "List available subrequest types", .has_text = false},
};

Json Named(std::string_view name) { return Json().Set("name", name); }

Json ToJson(const Subrequest& request) {
  Json json;
  json.Set("name", "frontend." + std::string(request.name)).Set("version", kSubrequestVersion);
  json.Set("type", "rpc").Set("description", request.description);
  if (request.has_target) {
    Json target = Named("target").Set("description", "Target build stage");
    json.Set("opts", Json().Append(std::move(target)));
  }
  Json metadata = Json().Append(Named("result.json"));
  if (request.has_text) metadata.Append(Named("result.txt"));
  if (request.has_status_code) metadata.Append(Named("result.statuscode"));
  return json.Set("metadata", std::move(metadata));
}

}  // namespace

std::span<const Subrequest> Subrequests() { return kSubrequests; }

Json DescribeJson() {
  Json list = Json::EmptyArray();
  for (const Subrequest& request : kSubrequests) list.Append(ToJson(request));
  return list;
}

std::string DescribeText() {
  std::vector<std::vector<std::string>> rows = {{"NAME", "VERSION", "DESCRIPTION"}};
  for (const Subrequest& request : kSubrequests) {
    rows.push_back({std::string(request.name), std::string(kSubrequestVersion), std::string(request.description)});
  }
  return TextTable(rows, 1);
}

}  // namespace varve::dockerfile
