"""Names of span attributes: OpenTelemetry's for generative AI, and ours.

The `gen_ai` names follow
https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai
They are spelled out here, since the published Python constants lag behind and are incubating.
"""

from __future__ import annotations

from typing import Final

ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_AGENT_VERSION: Final = "gen_ai.agent.version"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_PROMPT_NAME: Final = "gen_ai.prompt.name"
GEN_AI_PROMPT_VERSION: Final = "gen_ai.prompt.version"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"

OPERATION_CHAT: Final = "chat"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"
OPERATION_INVOKE_AGENT: Final = "invoke_agent"
OPERATION_PLAN: Final = "plan"
OPERATION_RETRIEVAL: Final = "retrieval"
TOOL_TYPE_FUNCTION: Final = "function"
TOOL_TYPE_DATASTORE: Final = "datastore"

SEAMLINE_ADAPTER_DIGEST: Final = "seamline.adapter.digest"
SEAMLINE_ADAPTER_NAME: Final = "seamline.adapter.name"
SEAMLINE_ADAPTER_VERSION: Final = "seamline.adapter.version"
SEAMLINE_BASE_DIGEST: Final = "seamline.base.digest"
SEAMLINE_BASE_NAME: Final = "seamline.base.name"
SEAMLINE_CHAT_TEMPLATE_DIGEST: Final = "seamline.chat_template.digest"
SEAMLINE_CONFIDENCE: Final = "seamline.confidence"
SEAMLINE_DECISION: Final = "seamline.decision"
SEAMLINE_DEVICE: Final = "seamline.device"
SEAMLINE_DTYPE: Final = "seamline.dtype"
SEAMLINE_EFFECT_DIGEST: Final = "seamline.effect.digest"
SEAMLINE_EFFECT_KEY: Final = "seamline.effect.key"
SEAMLINE_ENDPOINT: Final = "seamline.endpoint"
SEAMLINE_NODE: Final = "seamline.node"
SEAMLINE_PARENT_RUN_ID: Final = "seamline.run.parent_id"
SEAMLINE_POLICY_DIGEST: Final = "seamline.policy.digest"
SEAMLINE_RUN_ID: Final = "seamline.run.id"
SEAMLINE_QUESTIONS: Final = "seamline.questions"
SEAMLINE_RUN_STATUS: Final = "seamline.run.status"
SEAMLINE_TOKENIZER_DIGEST: Final = "seamline.tokenizer.digest"
SEAMLINE_TOOL_VERSION: Final = "seamline.tool.version"

PROVIDER: Final = "seamline"
PROVIDER_ENDPOINT: Final = "openai"
"""Endpoints speak OpenAI's API; who serves the model behind it, `server.address` tells."""
TRACER: Final = "seamline"
CAPTURE_CONTENT_VARIABLE: Final = "SEAMLINE_CAPTURE_CONTENT"
