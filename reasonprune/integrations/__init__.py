"""Context pruning as a component of LangChain, LlamaIndex and Haystack; each module needs that package only."""
