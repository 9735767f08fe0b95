// Pages that say how to do a thing come before others, and functions come last. Numbers
// but for `score` are those of Sphinx's searchtools.js.
var Scorer = {
  score: ([docname, title, anchor, descr, score]) => {
    if (docname.startsWith("reference/api/")) return score - 20;
    return /^(how_to|tutorial)\//.test(docname) ? score + 3 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
