// A small chat template in the wire format of the family, and what tests need to run it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/text/tiny_tokenizer.h"
#include "text/chat_template.h"

namespace m2 {

inline constexpr char kTinyTemplate[] = R"jinja(
{%- macro text_of(content) -%}
  {%- if content is string -%}{{ content }}
  {%- elif content is iterable and content is not mapping -%}
    {%- for part in content -%}{{ part if part is string else part.text }}{%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- set state = namespace(last_user=-1, calls=false) -%}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}{%- set state.last_user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{{- ']~!b[]~b]system\n' -}}
{%- if messages and messages[0].role == 'system' -%}
  {{- text_of(messages[0].content) -}}
  {%- if messages[0].current_date -%}{{- '\nDate: ' ~ messages[0].current_date -}}{%- endif -%}
{%- else -%}{{- identity if identity is defined else 'Be helpful.' -}}{%- endif -%}
{%- if tools -%}
  {{- '\n<tools>\n' -}}
  {%- for tool in tools -%}{{- '<tool>' ~ tool.function|tojson(ensure_ascii=False) ~ '</tool>\n' -}}
  {%- endfor -%}
  {{- '</tools> as <minimax:tool_call>…</minimax:tool_call>' -}}
{%- endif -%}
{{- '[e~[\n' -}}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}
    {{- ']~b]user\n' ~ text_of(message.content) ~ '[e~[\n' -}}
  {%- elif message.role == 'assistant' -%}
    {{- ']~b]ai\n' -}}
    {%- set reasoning = '' -%}
    {%- set content = text_of(message.content) -%}
    {%- if message.reasoning_content is string -%}
      {%- set reasoning = message.reasoning_content -%}
    {%- elif '</think>' in content -%}
      {%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\n') -%}
      {%- set content = content.split('</think>')[-1].strip('\n') -%}
    {%- endif -%}
    {%- if reasoning and loop.index0 > state.last_user -%}
      {{- '<think>\n' ~ reasoning ~ '\n</think>\n\n' -}}
    {%- endif -%}
    {{- content -}}
    {%- set state.calls = false -%}
    {%- if message.tool_calls -%}
      {%- set state.calls = true -%}
      {{- '\n<minimax:tool_call>\n' -}}
      {%- for call in message.tool_calls -%}
        {%- set call = call.function or call -%}
        {{- '<invoke name="' ~ call.name ~ '">\n' -}}
        {%- for name, value in call.arguments.items() -%}
          {{- '<parameter name="' ~ name ~ '">' -}}
          {{- value if value is string else value|tojson(ensure_ascii=False) -}}
          {{- '</parameter>\n' -}}
        {%- endfor -%}
        {{- '</invoke>\n' -}}
      {%- endfor -%}
      {{- '</minimax:tool_call>' -}}
    {%- endif -%}
    {{- '[e~[\n' -}}
  {%- elif message.role == 'tool' -%}
    {%- if not state.calls -%}{{- raise_exception('a tool result without a call') -}}{%- endif -%}
    {{- ']~b]tool' -}}
    {%- if message.content is string -%}
      {{- '\n<response>' ~ message.content ~ '</response>' -}}
    {%- else -%}
      {%- for part in message.content -%}{{- '\n<response>' ~ part.text ~ '\n</response>' -}}
      {%- endfor -%}
    {%- endif -%}
    {{- '[e~[\n' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ']~b]ai\n<think>\n' -}}{%- endif -%}
)jinja";

inline std::unique_ptr<ChatTemplate> load_template(const std::string& source,
                                                   const Tokenizer& tokenizer,
                                                   TemplateLimits limits = {}) {
  auto loaded = ChatTemplate::load("test.jinja", source, tokenizer, limits);
  M2_CHECK(loaded.has_value(), "{}", loaded.error().message);
  return std::move(*loaded);
}

inline json::Value parse_json(std::string_view text) {
  auto value = json::parse(text);
  M2_CHECK(value.has_value(), "{}: {}", text, value.error().message);
  return std::move(*value);
}

inline ChatInput chat_input(std::string_view messages, std::string_view tools = "null") {
  ChatInput input;
  input.messages = parse_json(messages);
  input.tools = parse_json(tools);
  return input;
}

inline std::vector<int32_t> control_tokens(const Tokenizer& tokenizer,
                                           const std::vector<int32_t>& ids) {
  std::vector<int32_t> control;
  for (const int32_t id : ids) {
    if (tokenizer.is_added(id)) control.push_back(id);
  }
  return control;
}

}  // namespace m2
