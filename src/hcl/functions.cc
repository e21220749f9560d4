#include "hcl/functions.h"

#include <cmath>
#include <cstdint>

#include "hcl/function_table.h"

namespace varve::hcl {

void Define(FunctionTable& table, const std::string& name, Signature signature,
            std::function<Result<Value>(const Arguments&)> body) {
  Function function;
  function.least = signature.parameters.size() - signature.optional;
  function.most = signature.rest ? SIZE_MAX : signature.parameters.size();
  function.takes_nulls = signature.nulls;
  function.call = [signature = std::move(signature), body = std::move(body)](const Arguments& given) -> Result<Value> {
    Arguments arguments;
    for (size_t i = 0; i < given.size(); ++i) {
      const Type& type = i < signature.parameters.size() ? signature.parameters[i] : *signature.rest;
      auto converted = Convert(given[i], type);
      if (!converted) return Error(std::move(converted).error()).With(fmt::format("argument {}", i + 1));
      arguments.push_back(std::move(*converted));
    }
    return body(arguments);
  };
  table[name] = std::move(function);
}

Result<int64_t> WholeNumber(const Value& value, std::string_view what) {
  long double number = value.as_number();
  if (number != std::floor(number)) return Invalid("{} must be a whole number", what);
  if (std::fabs(number) > 9e18L) return Invalid("{} is too large", what);
  return static_cast<int64_t>(number);
}

const std::map<std::string, Function>& StandardFunctions() {
  static const FunctionTable* table = [] {
    auto* made = new FunctionTable;
    AddNumberFunctions(*made);
    AddTextFunctions(*made);
    AddFormatFunctions(*made);
    AddRegexFunctions(*made);
    AddCollectionFunctions(*made);
    AddSetFunctions(*made);
    AddEncodingFunctions(*made);
    AddTimeFunctions(*made);
    AddNetworkFunctions(*made);
    AddVersionFunctions(*made);
    return made;
  }();
  return *table;
}

}  // namespace varve::hcl
