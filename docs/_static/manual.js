// Boxes that scroll sideways are reached by the keyboard, in browsers that leave them
// out, too.
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document
  .querySelectorAll(".content pre, .table-wrapper, .content p:has(> img)")
  .forEach((box) => scrolling.observe(box));
