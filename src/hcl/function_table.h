// How the function files add to the table. Internal to the module.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hcl/evaluate.h"

namespace varve::hcl {

using Arguments = std::vector<Value>;
using FunctionTable = std::map<std::string, Function>;

// A function whose arguments are converted first. `rest`: the type of any number of further ones.
// The last `optional` of the parameters may be left out.
struct Signature {
  std::vector<Type> parameters;
  std::optional<Type> rest = {};
  size_t optional = 0;
  bool nulls = false;
};
void Define(FunctionTable& table, const std::string& name, Signature signature,
            std::function<Result<Value>(const Arguments&)> body);

// A whole number that fits; `what` is for the message.
Result<int64_t> WholeNumber(const Value& value, std::string_view what);
// The clusters that a reader sees as characters (Unicode TR 29).
std::vector<std::string> Graphemes(const std::string& text);

void AddNumberFunctions(FunctionTable& table);
void AddTextFunctions(FunctionTable& table);
void AddFormatFunctions(FunctionTable& table);
void AddRegexFunctions(FunctionTable& table);
void AddCollectionFunctions(FunctionTable& table);
void AddSetFunctions(FunctionTable& table);
void AddEncodingFunctions(FunctionTable& table);
void AddTimeFunctions(FunctionTable& table);
void AddNetworkFunctions(FunctionTable& table);
void AddVersionFunctions(FunctionTable& table);

}  // namespace varve::hcl
