"""RASD: drafts from retrieval fused with a draft model, verified losslessly by the target (arXiv 2503.03434).

`tree` and `fusion` are the method, `matching`, `segment` and `datastore` where drafts are retrieved from, `acceptance`
and `controller` how many tokens are worth a try, `drafting` puts them together for a batch. None of these needs an
engine. `proposer` and `runner` are the two ways into vLLM; `reference` verifies whole trees on transformers.
"""
